//! Times of `benches/core`, read from the table that divan prints, as it has no other form.

use serde::{Deserialize, Serialize};

use crate::bench::document::{Block, table};

/// What an item takes, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Time {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) median_ns: f64,
    pub(crate) fastest_ns: f64,
    pub(crate) slowest_ns: f64,
    /// Of a rival: its median by ours.
    pub(crate) ratio: Option<f64>,
}

/// Runs all of them: a minute.
///
/// # Errors
/// If they cannot be run, or print something else.
pub(super) fn measure() -> Result<Vec<Time>, String> {
    let text = super::bench("flowtap", "core", "bench", &[])?;
    let times = parse(&text);
    if times.is_empty() {
        return Err(format!("read benchmark core: no times in\n{text}"));
    }
    Ok(times)
}

/// The rows of divan's tree: three characters for each level, a name, and columns; below each a row
/// of how many items a second that is.
fn parse(text: &str) -> Vec<Time> {
    let mut path = Vec::new();
    let mut times = Vec::new();
    for line in text.lines() {
        if let Some((before, row)) = line.split_once("─ ") {
            // The last character is the branch; each level above it has three.
            path.truncate(before.chars().count() / 3);
            path.push(row.split([' ', '│']).next().unwrap_or_default());
            continue;
        }
        let mut cells = line.split('│').filter_map(per_item_ns);
        let cells = [cells.next(), cells.next(), cells.next()];
        if let ([Some(fastest_ns), Some(slowest_ns), Some(median_ns)], [group, name @ ..]) =
            (cells, &path[..])
        {
            let (group, name) = ((*group).to_owned(), name.join("/"));
            times.push(Time { group, name, median_ns, fastest_ns, slowest_ns, ratio: None });
        }
    }
    let ratios: Vec<_> = times.iter().map(|time| ratio(time, &times)).collect();
    times.iter_mut().zip(ratios).for_each(|(time, ratio)| time.ratio = ratio);
    times
}

/// `1.5 Mitem/s` as nanoseconds for each.
fn per_item_ns(cell: &str) -> Option<f64> {
    let (number, unit) = cell.trim().split_once(' ')?;
    let unit_ns = match unit {
        "item/s" => 1e9,
        "Kitem/s" => 1e6,
        "Mitem/s" => 1e3,
        "Gitem/s" => 1.0,
        _ => return None,
    };
    Some(unit_ns / number.parse::<f64>().ok()?)
}

/// A rival by the one of ours whose name goes on after `ours` as the rival's name ends.
fn ratio(time: &Time, times: &[Time]) -> Option<f64> {
    if time.name.starts_with("ours") {
        return None;
    }
    let in_group = times.iter().filter(|other| other.group == time.group);
    let mut ours = in_group.filter(|other| {
        other.name.strip_prefix("ours").is_some_and(|rest| time.name.ends_with(rest))
    });
    ours.next().map(|ours| time.median_ns / ours.median_ns)
}

/// All of them for people.
pub(super) fn shown(times: &[Time]) -> Block {
    let rows = times.iter().map(|time| {
        let Time { group, name, median_ns, fastest_ns, slowest_ns, ratio } = time;
        let [median, fastest, slowest] =
            [median_ns, fastest_ns, slowest_ns].map(|ns| format!("{ns:.1}"));
        let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        [format!("{group}, {name}"), median, fastest, slowest, ratio]
    });
    table(["ns an item", "median", "fastest", "slowest", "by ours"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divan_s_tree_is_read() {
        let text = "\
Timer precision: 20 ns
core                   fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ decode                            │               │               │               │         │
│  ├─ ours_general     4.096 ms      │ 40.96 ms      │ 8.192 ms      │ 8.192 ms      │ 100     │ 100
│  │                   1 Mitem/s     │ 100 Kitem/s   │ 500 Kitem/s   │ 500 Kitem/s   │         │
│  ╰─ walk_general     4.096 µs      │ 4.096 µs      │ 4.096 µs      │ 4.096 µs      │ 100     │ 100
│                      1 Gitem/s     │ 1 Gitem/s     │ 1 Gitem/s     │ 64.2 Mitem/s  │         │
╰─ exchange                          │               │               │               │         │
   ╰─ pass_on                        │               │               │               │         │
      ╰─ 2             409.6 ns      │ 819.2 ns      │ 409.6 ns      │ 91 ns         │ 20      │ 20
                       10 Gitem/s    │ 5 Gitem/s     │ 10 Gitem/s    │ 44.9 Mitem/s  │         │
";
        let time =
            |group: &str, name: &str, [median_ns, fastest_ns, slowest_ns]: [f64; 3], ratio| {
                let (group, name) = (group.to_owned(), name.to_owned());
                Time { group, name, median_ns, fastest_ns, slowest_ns, ratio }
            };
        let want = [
            time("decode", "ours_general", [2_000.0, 1_000.0, 10_000.0], None),
            time("decode", "walk_general", [1.0, 1.0, 1.0], Some(0.0005)),
            time("exchange", "pass_on/2", [0.1, 0.1, 0.2], None),
        ];
        let round = |value: f64| (value * 1e6).round() / 1e6;
        let mut times = parse(text);
        for time in &mut times {
            for ns in [&mut time.median_ns, &mut time.fastest_ns, &mut time.slowest_ns] {
                *ns = round(*ns);
            }
            time.ratio = time.ratio.map(round);
        }
        assert_eq!(times, want);
    }
}
