//! Packets to their flow's core.

use divan::Bencher;

use crate::again;
use crate::pieces::exchange::PassOn;

/// Cores that packets are passed on among.
pub(crate) const CORES: [usize; 3] = [2, 8, 64];

#[divan::bench(args = CORES)]
fn pass_on(bencher: Bencher<'_, '_>, cores: usize) {
    again(bencher, PassOn::new(cores));
}
