use proptest::prelude::*;

use super::*;

/// The spread of some values, and their sum.
fn spread(values: &[u64]) -> (Spread, u64) {
    let mut all = Spread::EMPTY;
    for &value in values {
        let mut histogram = [0; BINS];
        histogram[bin_of(value)] = 1;
        let squares = u128::from(value).pow(2);
        all.combine(&Spread { min: value, max: value, squares, histogram });
    }
    (all, values.iter().sum())
}

#[test]
fn bins_are_powers_of_two() {
    let table = [
        (0, 0),
        (15, 0),
        (16, 1),
        (31, 1),
        (32, 2),
        (63, 2),
        (64, 3),
        (127, 3),
        (128, 4),
        (255, 4),
        (256, 5),
        (511, 5),
        (512, 6),
        (1_023, 6),
        (1_024, 7),
        (65_535, 7),
        (u64::MAX, 7),
    ];
    for (value, bin) in table {
        assert_eq!(bin_of(value), bin, "{value}");
    }
}

/// Values; mean and population standard deviation, in thousandths.
type Row<'a> = (&'a [u64], Option<(u128, u128)>);

#[test]
fn means_and_deviations_to_thousandths() {
    let table: [Row<'_>; 8] = [
        (&[], None),
        (&[7], Some((7_000, 0))),
        (&[40, 1_500], Some((770_000, 730_000))),
        (&[2, 4, 4, 4, 5, 5, 7, 9], Some((5_000, 2_000))),
        (&[1, 1, 2], Some((1_333, 471))),
        (&[0, 1, 1], Some((667, 471))),
        // Close together and far from 0: floating-point sums of squares have nothing left here.
        (&[1_000_000_000_000_000, 1_000_000_000_000_001], Some((1_000_000_000_000_000_500, 500))),
        (&[0, u64::MAX], Some((9_223_372_036_854_775_807_500, 9_223_372_036_854_775_808_000))),
    ];
    for (values, want) in table {
        let (spread, sum) = spread(values);
        let got = spread.mean(sum).zip(spread.deviation(sum));
        assert_eq!(got.map(|(mean, deviation)| (mean.0, deviation.0)), want, "{values:?}");
    }
}

fn any_spread() -> impl Strategy<Value = Spread> {
    let count = prop_oneof![0u64..9, Just(u64::MAX)];
    let squares = prop_oneof![0u128..9, any::<u128>()];
    (any::<u64>(), any::<u64>(), squares, [count.clone(), count.clone(), count.clone(), count])
        .prop_map(|(min, max, squares, [a, b, c, d])| Spread {
            min,
            max,
            squares,
            histogram: [a, b, c, d, d, c, b, a],
        })
}

fn any_features() -> impl Strategy<Value = Features> {
    let side = || {
        let sum = prop_oneof![0u64..9, any::<u64>()];
        (any_spread(), any_spread(), sum).prop_map(|(lengths, gaps, gap_sum_ns)| SideFeatures {
            lengths,
            gaps,
            gap_sum_ns,
        })
    };
    (side(), side()).prop_map(|(a, b)| Features([a, b]))
}

fn sum(parts: &[&Features]) -> Features {
    let mut whole = Features::EMPTY;
    parts.iter().for_each(|part| whole.combine(part));
    whole
}

proptest! {
    #[test]
    fn combining_is_associative(a in any_features(), b in any_features(), c in any_features()) {
        prop_assert_eq!(sum(&[&sum(&[&a, &b]), &c]), sum(&[&a, &sum(&[&b, &c])]));
    }

    #[test]
    fn combining_is_commutative(a in any_features(), b in any_features()) {
        prop_assert_eq!(sum(&[&a, &b]), sum(&[&b, &a]));
    }

    #[test]
    fn nothing_is_the_identity(a in any_features()) {
        prop_assert_eq!(sum(&[&a]), a);
        let mut right = a;
        right.combine(&Features::EMPTY);
        prop_assert_eq!(right, a);
    }

    /// In two parts or in one: the same, and what the definition of a deviation says.
    #[test]
    fn a_deviation_is_what_its_definition_says(
        values in prop::collection::vec(0u64..3_000, 1..50), at in any::<prop::sample::Index>(),
    ) {
        let (whole, sum) = spread(&values);
        let (left, right) = values.split_at(at.index(values.len()));
        let mut parts = spread(left).0;
        parts.combine(&spread(right).0);
        prop_assert_eq!(parts, whole);
        let count = values.len() as f64;
        let mean = sum as f64 / count;
        let variance = values.iter().map(|&value| (value as f64 - mean).powi(2)).sum::<f64>() / count;
        let [got_mean, got] = [whole.mean(sum), whole.deviation(sum)].map(|got| got.unwrap().0 as f64);
        prop_assert!((got_mean - mean * 1_000.0).abs() <= 0.501, "{} {}", got_mean, mean);
        prop_assert!((got - variance.sqrt() * 1_000.0).abs() <= 0.501, "{} {}", got, variance);
    }
}
