//! Least squares, written plainly. Errors count in proportion to what was measured, so that a
//! tenth off 20 ns weighs as much as a tenth off 300. Knows nothing of what is fitted.

/// One measurement: the value of each term, and what they should add up to.
pub(super) type Row<const N: usize> = ([f64; N], f64);

/// The factor of each term; `None` where the measurements say nothing of it, because the term
/// is zero in all of them.
pub(super) type Factors<const N: usize> = [Option<f64>; N];

/// The factors that make the sum of squares of all relative errors least; `None` if more than
/// one choice does.
pub(super) fn fit<const N: usize>(rows: &[Row<N>]) -> Option<Factors<N>> {
    let known: Vec<usize> =
        (0..N).filter(|&term| rows.iter().any(|(terms, _)| terms[term] != 0.0)).collect();
    // The normal equations: for each term a sum over all measurements.
    let mut equations: Vec<Vec<f64>> = known
        .iter()
        .map(|&one| {
            let sum = |value: &dyn Fn(&Row<N>) -> f64| {
                rows.iter().map(|row| row.0[one] * value(row) / (row.1 * row.1)).sum::<f64>()
            };
            let mut equation: Vec<_> =
                known.iter().map(|&other| sum(&|(terms, _)| terms[other])).collect();
            equation.push(sum(&|(_, measured)| *measured));
            equation
        })
        .collect();
    let solved = solve(&mut equations)?;
    let mut factors = [None; N];
    known.into_iter().zip(solved).for_each(|(term, factor)| factors[term] = Some(factor));
    Some(factors)
}

/// Solves as many equations as there are unknowns, each its factors and then its sum, by
/// elimination; `None` if they do not determine all.
fn solve(equations: &mut [Vec<f64>]) -> Option<Vec<f64>> {
    let count = equations.len();
    for step in 0..count {
        let largest = (step..count)
            .max_by(|&a, &b| equations[a][step].abs().total_cmp(&equations[b][step].abs()))?;
        equations.swap(step, largest);
        let pivot = equations[step].clone();
        // Nothing but what rounding left.
        let scale = pivot[..count].iter().fold(0.0_f64, |most, factor| most.max(factor.abs()));
        if pivot[step].abs() <= scale * 1e-9 || pivot[step] == 0.0 {
            return None;
        }
        for (_, equation) in equations.iter_mut().enumerate().filter(|(at, _)| *at != step) {
            let times = equation[step] / pivot[step];
            equation.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= times * pivot);
        }
    }
    Some((0..count).map(|at| equations[at][count] / equations[at][at]).collect())
}

/// What the factors say of a measurement; a factor that is not known counts nothing.
pub(super) fn predict<const N: usize>(factors: &Factors<N>, terms: &[f64; N]) -> f64 {
    factors.iter().zip(terms).map(|(factor, term)| factor.unwrap_or(0.0) * term).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of `5 + 3 x + 2 y`, with relative errors of alternating sign.
    fn rows(error: f64) -> Vec<Row<4>> {
        let points = (0..20).map(|at| [f64::from(at % 5), f64::from(at / 5)]);
        let noise = [1.0 + error, 1.0 - error].into_iter().cycle();
        points
            .zip(noise)
            .map(|([x, y], noise)| ([1.0, x, y, 0.0], (5.0 + 3.0 * x + 2.0 * y) * noise))
            .collect()
    }

    #[test]
    fn known_factors_are_found_again() {
        let factors = fit(&rows(0.0)).unwrap();
        for (found, known) in factors.iter().zip([5.0, 3.0, 2.0]) {
            assert!((found.unwrap() - known).abs() < 1e-9, "{factors:?}");
        }
        assert_eq!(factors[3], None, "nothing was measured with it");
        assert!((predict(&factors, &[1.0, 2.0, 1.0, 9.0]) - 13.0).abs() < 1e-9);
    }

    #[test]
    fn errors_of_a_twentieth_move_them_by_little() {
        let factors = fit(&rows(0.05)).unwrap();
        for (found, known) in factors.iter().zip([5.0, 3.0, 2.0]) {
            assert!((found.unwrap() / known - 1.0).abs() < 0.1, "{factors:?}");
        }
    }

    #[test]
    fn terms_that_always_go_together_are_not_told_apart() {
        let rows = [1.0, 2.0, 3.0].map(|x| ([x, 2.0 * x], 5.0 * x));
        assert_eq!(fit(&rows), None);
        assert_eq!(fit::<2>(&[([1.0, 2.0], 3.0)]), None, "one measurement for two factors");
    }
}
