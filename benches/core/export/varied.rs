//! Records of a file: as many as half a row group of Parquet has, so that what each row group costs
//! once does not count for more than it does; and not alike, as how often values repeat is what
//! columnar formats' time depends on. Seeded.

use flowtap::flow::FlowRecord;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, Zipf};

use crate::pieces::export::record_between;

/// Records of a file.
pub(crate) const FILE_RECORDS: usize = 1 << 16;

/// Some servers have most of the flows, and some flows most of the packets.
pub(crate) fn varied() -> Vec<FlowRecord> {
    let mut random = SmallRng::seed_from_u64(1);
    let servers = Zipf::new(20_000.0, 1.1).expect("they are valid");
    let packets = Zipf::new(10_000.0, 1.5).expect("they are valid");
    let seconds = Exp::new(0.2).expect("it is valid");
    (0..FILE_RECORDS)
        .map(|number| {
            let client = (random.random_range(0..5_000), random.random_range(32_768..61_000));
            let port = *pick(&mut random, &[443, 443, 443, 80, 22, 53, 8_443]);
            let server = (whole(servers.sample(&mut random)), port);
            let mut record = record_between(number, client, server);
            for side in &mut record.total.sides {
                let packets = u64::from(whole(packets.sample(&mut random)));
                let payload = packets * random.random_range(40..1_400);
                (side.packets, side.payload_bytes) = (packets, payload);
                (side.bytes, side.frame_bytes) = (payload + 52 * packets, payload + 66 * packets);
                side.tcp_flags = *pick(&mut random, &[0x1b, 0x1b, 0x1a, 0x1f]);
                let ttl = *pick(&mut random, &[64, 64, 128, 57, 52, 243]);
                (side.ttl_min, side.ttl_max, side.dscp) =
                    (ttl, ttl, *pick(&mut random, &[0, 0, 10]));
                side.retransmits = u32::from(random.random_bool(0.1));
            }
            let lasted = seconds.sample(&mut random) * 1e9;
            record.total.last = record.total.first + i64::from(whole(lasted / 1e3)) * 1_000;
            record
        })
        .collect()
}

fn pick<'a, T>(random: &mut impl Rng, of: &'a [T]) -> &'a T {
    &of[random.random_range(0..of.len())]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small")]
fn whole(number: f64) -> u32 {
    number as u32
}
