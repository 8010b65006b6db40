//! Arbitrary files and arbitrary mutations of good ones: reading ends, never panics, and
//! what comes before the first changed byte is right.

use proptest::collection::vec;
use proptest::prelude::*;

use super::build::{BOTH, Classic, Ng};
use super::{compressed, outcome};

/// The offset at which each packet of a file ends, and the file.
fn good_file() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    let packets = vec(vec(any::<u8>(), 0..90), 0..12);
    (packets, 0..2_usize, 0..4_usize).prop_map(|(packets, end, format)| {
        let mut ends = Vec::new();
        let end = BOTH[end];
        let file = match format {
            3 => {
                let start = Ng::new(end).interface(1, 0, &[(9, &[9])]).interface(101, 0, &[]);
                packets
                    .iter()
                    .zip(0_u16..)
                    .fold(start, |ng, (bytes, i)| {
                        let ng = match i % 4 {
                            0 => ng.packet(1, u64::from(i), 1_500, bytes),
                            1 => ng.obsolete(i % 2, u64::from(i), 60, bytes),
                            2 => ng.simple(u32::try_from(bytes.len()).unwrap(), bytes),
                            _ => ng.block(77, bytes).packet(0, u64::MAX / 3, 9, bytes),
                        };
                        ends.push(ng.file.len());
                        ng
                    })
                    .file
            }
            _ => {
                let magic = [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34][format];
                packets
                    .iter()
                    .zip(0..)
                    .fold(Classic::new(end, magic, 1), |file, (bytes, i)| {
                        let file = file.packet(i, bytes);
                        ends.push(file.file.len());
                        file
                    })
                    .file
            }
        };
        (file, ends)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_end(
        magic in 0..6_usize,
        bytes in vec(any::<u8>(), 0..600),
        step in 1..64_usize,
    ) {
        let start: [&[u8]; 6] = [
            b"",
            b"\xd4\xc3\xb2\xa1",
            b"\xa1\xb2\xcd\x34",
            b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a",
            b"\x1f\x8b\x08",
            b"\x28\xb5\x2f\xfd",
        ];
        let file = [start[magic], &bytes].concat();
        prop_assert_eq!(outcome(&file, usize::MAX).0, outcome(&file, step).0);
    }

    #[test]
    fn a_changed_file_is_right_up_to_the_change(
        (file, ends) in good_file(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        step in 1..300_usize,
    ) {
        let (packets, error) = outcome(&file, usize::MAX);
        prop_assert_eq!((packets.len(), &error), (ends.len(), &None));
        let mut changed = file.clone();
        for (at, value) in &changes {
            let at = at.index(changed.len());
            changed[at] ^= value;
        }
        changed.truncate(cut.index(file.len() * 4 + 1));
        let same = file.iter().zip(&changed).take_while(|(a, b)| a == b).count();
        let intact = ends.iter().filter(|&&end| end <= same).count();
        let found = outcome(&changed, usize::MAX);
        prop_assert!(found.0.len() >= intact);
        prop_assert_eq!(&found.0[..intact], &packets[..intact]);
        prop_assert_eq!(&outcome(&changed, 1), &found, "byte by byte");
        prop_assert_eq!(&outcome(&changed, step), &found, "in steps");
        prop_assert_eq!(&outcome(&compressed::gzip(&changed), step).0, &found.0, "in gzip");
    }

    #[test]
    fn changed_compressed_files_end(
        (file, _) in good_file(),
        at in any::<prop::sample::Index>(),
        value in 1..=255_u8,
    ) {
        for mut stored in [compressed::gzip(&file), zstd::encode_all(&file[..], 3).unwrap()] {
            let at = at.index(stored.len());
            stored[at] ^= value;
            let _ = outcome(&stored, usize::MAX);
        }
    }
}
