//! What 100 GbE at 64 bytes would need, told, with everything that is taken for granted on the
//! way.

use crate::bench::document::{Block, short, table};

use super::model::Model;
use super::needs::{
    COUNT_LINES, L3_CORES, LINE, NEW_LINES, Needs, Prices, RATE, RECEIVE_LINES, SCENARIOS,
    Scenario, TYPICAL, VISIT_LINES,
};
use super::outlook::worst;
use super::result::Scale;

/// All that there is to say of it.
pub(super) fn line_rate(model: &Model, prices: &Prices, scale: &Scale) -> Vec<Block> {
    let needs = SCENARIOS.map(|scenario| (scenario, model.needs(&scenario, prices)));
    let cores = needs.iter().map(|(scenario, needs)| {
        [
            short(scenario.flows),
            format!("{:.1}", scenario.new_share * 100.0),
            short(needs.new_per_s),
            if needs.stay_s.is_finite() { short(needs.stay_s) } else { "for ever".into() },
            format!("{:.0}", needs.table_ns),
            format!("{:.1}", needs.cores),
            format!("{:.1}", needs.lines),
            format!("{:.0}", needs.memory_bytes_per_s / 1e9),
        ]
    });
    let others = needs.iter().map(|(scenario, needs)| {
        [
            short(scenario.flows),
            format!("{:.1}", scenario.new_share * 100.0),
            short(needs.deltas_per_s),
            format!("{:.1}", needs.merge_threads),
            format!("{:.2}", needs.merge_threads_whole),
            format!("{:.1}", needs.export_threads),
            format!("{:.0}", needs.export_bytes_per_s / 1e6),
            format!("{:.1}", needs.table_bytes / 1e9),
            format!("{:.1}", needs.map_bytes / 1e9),
        ]
    });
    let largest = needs.iter().map(|(_, needs)| needs.table_ns).fold(0.0, f64::max);
    let mut blocks = vec![
        Block::Heading(3, "100 Gbit/s of 64-byte packets, by the model".into()),
        Block::Text(format!(
            "{:.1} M packets/s: {:.1} ns a packet for all cores together. Receiving takes {:.0} ns \
             ({}), decoding {:.1} ns, counting what the model says. If that is off by as much as \
             the worst error of the fit, it is {:.0} cores more or less in the dearest row.",
            RATE / 1e6,
            1e9 / RATE,
            prices.receive_ns,
            scale.receive.source,
            prices.decode_ns,
            RATE * largest / 1e9 * worst(model, scale, true),
        )),
        table(
            [
                "flows",
                "% new",
                "new flows/s",
                "s in the table",
                "counting ns",
                "cores",
                "lines a packet",
                "memory GB/s",
            ],
            cores,
        ),
        table(
            [
                "flows",
                "% new",
                "deltas/s",
                "merge threads",
                "if all whole",
                "CSV threads",
                "CSV MB/s",
                "tables GB",
                "map GB",
            ],
            others,
        ),
        Block::Text(format!(
            "One merge thread takes {} flows/s that come whole, and {} deltas/s of those that go \
             through the map. A table empties as fast as flows time out: where \"s in the table\" \
             is below the idle timeout, that needs to be lower or the table larger, or flows \
             are given up.",
            short(1e9 / prices.merge_whole_ns),
            short(1e9 / prices.merge_delta_ns),
        )),
    ];
    blocks.extend(passing_on(&needs.map(|(_, needs)| needs), scale));
    blocks.push(Block::Text("Assumed:".into()));
    blocks.push(Block::List(assumptions(scale)));
    blocks
}

/// What of the program is in the way of line rate, whatever the number of cores; each a
/// sentence.
pub(super) fn limits(model: &Model, prices: &Prices) -> Vec<String> {
    let Scenario { flows, new_share } = TYPICAL;
    let needs = model.needs(&TYPICAL, prices);
    let at = format!(
        "100 GbE at 64 bytes with {} flows and {:.0} % of packets in new ones",
        short(flows),
        new_share * 100.0
    );
    let mut limits = Vec::new();
    if needs.merge_threads > 1.0 {
        limits.push(format!(
            "Scaling: the program runs one merge thread, which takes {} deltas/s through the map; \
             {at} brings {}, by the model.",
            short(1e9 / prices.merge_delta_ns),
            short(needs.deltas_per_s),
        ));
    }
    if needs.export_threads > 1.0 {
        limits.push(format!(
            "Scaling: a sink has one thread, which takes {} records/s as CSV; {at} brings {}, by \
             the model.",
            short(1e9 / prices.export_ns),
            short(needs.export_threads * 1e9 / prices.export_ns),
        ));
    }
    limits
}

/// What it takes more where the card does not keep flows together.
fn passing_on(needs: &[Needs], scale: &Scale) -> Option<Block> {
    let passing = scale.passing();
    let least = needs.iter().map(|needs| needs.cores).fold(f64::MAX, f64::min);
    // No fewer cores than line rate needs without it, if there is such a measurement.
    let (cores, ns) = passing.iter().find(|(cores, _)| f64::from(*cores) >= least).copied()?;
    let more = RATE * ns / 1e9;
    Some(Block::Text(format!(
        "Where the card's hash is not symmetric, a packet is passed on at {ns:.0} ns among {cores} \
         cores: {more:.1} cores more, if the price stayed the same with them. It does not: {}. \
         So the way to line rate is a symmetric hash.",
        passing
            .iter()
            .map(|(cores, ns)| format!("{ns:.0} ns among {cores}"))
            .collect::<Vec<_>>()
            .join(", "),
    )))
}

/// What is taken for granted; each a sentence.
fn assumptions(scale: &Scale) -> Vec<String> {
    vec![
        format!(
            "Cores of this kind, with its caches, {L3_CORES:.0} of them to a third-level cache. Cores \
             do not slow each other down but by sharing that: on the {} here this is all that was \
             seen, and beyond them a guess.",
            scale.available
        ),
        format!("Receiving takes {:.0} ns: {}.", scale.receive.ns, scale.receive.source),
        "Cores are busy all the time and evenly loaded: add what you want to keep free. The card \
         spreads flows evenly and keeps both directions together."
            .into(),
        "Packets are of random flows, all alike: the worst case for caches. Traffic with few large \
         flows costs less."
            .into(),
        "No names are learned, which the program does by default: what looking for them takes of \
         each packet (in instructions, `path/names` less `path/bare`), and the thread that reads \
         them, are not counted. Headers are in the core's cache when they are decoded, as they \
         were when that was measured: waiting for what the card has just written is taken to be \
         in what receiving takes."
            .into(),
        format!(
            "Lines of {LINE:.0} bytes from or to memory: {RECEIVE_LINES:.0} to receive a packet \
             (frame, and descriptors together, written by the card and read by a core; none if the \
             card writes to the cache); {COUNT_LINES:.0} x `miss3` to count it (bucket read, two of \
             the slot read and written back); for each visit of the hand {VISIT_LINES:.0} x `miss3` \
             (the slot) and a delta written and read; for each new flow {NEW_LINES:.0} (two buckets, \
             origin, slot), a delta and a record written and read. Lines for ports, rings and \
             maps that stay in caches are not counted, nor is what writing files takes."
        ),
        "The hand comes to each slot once a second and publishes it: deltas/s are live flows and \
         new ones. \"Merge threads\" is for all of them through the map, at the dearest price \
         measured, with as many live flows as were measured, not as the row has; flows of less than \
         a second pass it by and count in \"if all whole\"."
            .into(),
        "Records are those of new flows, and one for each flow and active timeout (30 minutes), as \
         CSV without compression, by an encoder that waits for no disk. There is one thread to a \
         sink: more than one thread is more than one sink."
            .into(),
    ]
}
