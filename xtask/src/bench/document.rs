//! What a report says, before it is a page or a text: headings, paragraphs, tables and charts.
//! Knows nothing of benchmarks. [`text`] leaves charts out, [`page`] draws them as SVG.

use std::fmt::Write as _;

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block {
    /// Of the given level, from 1.
    Heading(usize, String),
    Text(String),
    List(Vec<String>),
    Table {
        head: Vec<String>,
        rows: Vec<Vec<String>>,
    },
    Bars(Bars),
    Lines(Lines),
}

/// One bar for each value, all from zero.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bars {
    pub(super) unit: String,
    pub(super) bars: Vec<Bar>,
}

/// A bar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// Ours, and so drawn in another colour.
    pub(super) is_ours: bool,
}

/// Values over something that grows; drawn over its logarithm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lines {
    pub(super) x: String,
    pub(super) y: String,
    /// Name and points of each line, by `x`, all above zero.
    pub(super) lines: Vec<(String, Vec<[f64; 2]>)>,
}

/// A table from anything that can be shown.
pub(super) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Block {
    Block::Table {
        head: head.map(str::to_owned).into(),
        rows: rows.into_iter().map(Into::into).collect(),
    }
}

/// As Markdown.
pub(super) fn text(blocks: &[Block]) -> String {
    let mut out = String::new();
    for block in blocks {
        // Writing to a string does not fail.
        let _ = match block {
            Block::Heading(level, text) => writeln!(out, "{} {text}\n", "#".repeat(*level)),
            Block::Text(text) => writeln!(out, "{text}\n"),
            Block::List(items) => {
                items.iter().for_each(|item| out += &format!("- {item}\n"));
                writeln!(out)
            }
            Block::Table { head, rows } => {
                let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
                out += &line(head);
                out += &format!("|{}\n", "---|".repeat(head.len()));
                rows.iter().for_each(|row| out += &line(row));
                writeln!(out)
            }
            Block::Bars(_) | Block::Lines(_) => Ok(()),
        };
    }
    out.truncate(out.trim_end().len());
    out + "\n"
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;\
    padding:0 1rem}table{border-collapse:collapse}td,th{padding:.2rem .6rem;border-bottom:1px \
    solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}svg text{font:13px \
    system-ui}code{font-size:12px}";

/// As one page, complete in itself.
pub(super) fn page(title: &str, blocks: &[Block]) -> String {
    let mut out = format!(
        "<!doctype html><meta charset='utf-8'><title>{}</title><style>{STYLE}</style>",
        escape(title)
    );
    for block in blocks {
        let _ = match block {
            Block::Heading(level, text) => write!(out, "<h{level}>{}</h{level}>", inline(text)),
            Block::Text(text) => write!(out, "<p>{}</p>", inline(text)),
            Block::List(items) => {
                let items = items.iter().map(|item| format!("<li>{}", inline(item)));
                write!(out, "<ul>{}</ul>", items.collect::<String>())
            }
            Block::Table { head, rows } => {
                let line = |tag: &str, cells: &[String]| {
                    let cells = cells.iter().map(|cell| format!("<{tag}>{}", inline(cell)));
                    format!("<tr>{}</tr>", cells.collect::<String>())
                };
                let rows = rows.iter().map(|row| line("td", row)).collect::<String>();
                write!(out, "<table>{}{rows}</table>", line("th", head))
            }
            Block::Bars(bars) => write!(out, "{}", bars.draw()),
            Block::Lines(lines) => write!(out, "{}", lines.draw()),
        };
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Text with `code` in it.
fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(place, part)| match place % 2 {
        0 => escape(part),
        _ => format!("<code>{}</code>", escape(part)),
    });
    parts.collect()
}

impl Bars {
    fn draw(&self) -> String {
        let most = self.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
        let mut out = svg(720, self.bars.len() * 26 + 4);
        for (place, bar) in self.bars.iter().enumerate() {
            let (top, width) = (place * 26 + 4, (bar.value / most * 420.0).max(1.0));
            let colour = if bar.is_ours { COLOURS[0] } else { "#8a8f98" };
            let _ = write!(
                out,
                "<text x='190' y='{base}' text-anchor='end'>{}</text>\
                 <rect x='200' y='{top}' width='{width:.0}' height='18' fill='{colour}'/>\
                 <text x='{:.0}' y='{base}'>{} {}</text>",
                escape(&bar.label),
                width + 206.0,
                short(bar.value),
                escape(&self.unit),
                base = top + 14,
            );
        }
        out + "</svg>"
    }
}

const COLOURS: [&str; 6] = ["#1763a6", "#c2571a", "#3d8b4f", "#8b3d80", "#8a8f98", "#b0a020"];

impl Lines {
    /// The plot, its scale from zero to the largest value.
    fn draw(&self) -> String {
        const LEFT: f64 = 70.0;
        const WIDTH: f64 = 430.0;
        const TOP: f64 = 20.0;
        const HEIGHT: f64 = 220.0;
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let least = points().map(|point| point[0].ln()).fold(f64::MAX, f64::min);
        let most = points().map(|point| point[0].ln()).fold(f64::MIN, f64::max);
        let highest = points().map(|point| point[1]).fold(f64::MIN_POSITIVE, f64::max);
        let across =
            |x: f64| LEFT + (x.ln() - least) / (most - least).max(f64::MIN_POSITIVE) * WIDTH;
        let down = |y: f64| TOP + HEIGHT - y / highest * HEIGHT;
        let mut out = svg(720, 300);
        for part in [0.0, 0.5, 1.0] {
            let y = down(highest * part);
            let _ = write!(
                out,
                "<line x1='{LEFT}' x2='{}' y1='{y:.0}' y2='{y:.0}' stroke='#ddd'/>\
                 <text x='{}' y='{:.0}' text-anchor='end'>{}</text>",
                LEFT + WIDTH,
                LEFT - 6.0,
                y + 4.0,
                short(highest * part),
            );
        }
        let mut marks: Vec<_> = points().map(|point| point[0]).collect();
        marks.sort_by(f64::total_cmp);
        marks.dedup();
        // More would lie on each other.
        for mark in marks.iter().step_by(marks.len().div_ceil(8).max(1)) {
            let (x, y) = (across(*mark), TOP + HEIGHT + 18.0);
            let _ = write!(
                out,
                "<text x='{x:.0}' y='{y}' text-anchor='middle'>{}</text>",
                short(*mark)
            );
        }
        for (place, (name, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS[place % COLOURS.len()];
            let path = points.iter().map(|[x, y]| format!("{:.1},{:.1} ", across(*x), down(*y)));
            let _ = write!(
                out,
                "<polyline fill='none' stroke='{colour}' stroke-width='2' points='{}'/>\
                 <text x='{}' y='{}' fill='{colour}'>{}</text>",
                path.collect::<String>().trim_end(),
                LEFT + WIDTH + 10.0,
                28 + place * 18,
                escape(name),
            );
        }
        let _ = write!(
            out,
            "<text x='{}' y='{}' text-anchor='middle'>{}</text><text x='4' y='12'>{}</text></svg>",
            LEFT + WIDTH / 2.0,
            TOP + HEIGHT + 40.0,
            escape(&self.x),
            escape(&self.y),
        );
        out
    }
}

fn svg(width: usize, height: usize) -> String {
    format!("<svg viewBox='0 0 {width} {height}' width='{width}' height='{height}' role='img'>")
}

/// Three digits or so.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        at if at >= 1e6 => format!("{:.3} M", value / 1e6).replace(".000", ""),
        at if at >= 1e4 => format!("{:.0} k", value / 1e3),
        at if at >= 100.0 => format!("{value:.0}"),
        at if at >= 10.0 => format!("{value:.1}"),
        0.0 => "0".into(),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_as_text_and_as_a_page() {
        let bar = Bar { label: "a<b".into(), value: 2.0, is_ours: true };
        let blocks = [
            Block::Heading(2, "One".into()),
            Block::Text("with `code < here`".into()),
            table(["x", "y"], [["1".into(), "2".into()]]),
            Block::List(vec!["first".into(), "second".into()]),
            Block::Bars(Bars { unit: "M/s".into(), bars: vec![bar] }),
            Block::Lines(Lines {
                x: "flows".into(),
                y: "ns".into(),
                lines: vec![("ours".into(), vec![[10.0, 1.0], [1e6, 4.0]])],
            }),
        ];
        assert_eq!(
            text(&blocks),
            "## One\n\nwith `code < here`\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n- first\n- second\n"
        );
        let page = page("T", &blocks);
        for part in [
            "<h2>One</h2>",
            "<code>code &lt; here</code>",
            "<tr><td>1<td>2</tr>",
            "<li>first<li>second",
            ">a&lt;b</text>",
            "points='70.0,185.0 500.0,20.0'",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }
}
