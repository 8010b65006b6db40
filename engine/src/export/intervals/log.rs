//! Histograms in the log format of HdrHistogram: text, one line for each tag and interval, with
//! the histogram in its V2 encoding, compressed, in base64
//! (<https://github.com/HdrHistogram/HdrHistogram/blob/HdrHistogram-2.2.2/src/main/java/org/HdrHistogram/HistogramLogWriter.java>).

use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::export::intervals::{Entry, IntervalHistogram};
use crate::export::{Encoder, InSet, Rows};
use crate::time::Timestamp;

/// What the lines mean, for who reads them.
const COMMENTS: [&str; 5] = [
    "[Histogram log format version 1.3]",
    "packet_size_bytes: IP lengths of packets, in bytes",
    "rtt_server_ns, rtt_client_ns: SYN to SYN/ACK, and from there to the ACK, in ns",
    "batch_time_ns: how long batches of packets took to count, in ns",
    "start (seconds since 1970), length (seconds), maximum, histogram",
];

/// One line for each.
#[derive(Default)]
pub(in crate::export) struct IntervalLog {
    serializer: V2DeflateSerializer,
}

impl Encoder for IntervalLog {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let mut builder = IntervalLogWriterBuilder::new();
        for comment in COMMENTS {
            builder.add_comment(comment);
        }
        builder.begin_log_with(out, &mut self.serializer).expect("a vector takes anything");
    }

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        // Nothing is written at its beginning.
        let mut writer = IntervalLogWriterBuilder::new()
            .begin_log_with(out, &mut self.serializer)
            .expect("a vector takes anything");
        for entry in rows.intervals {
            let Entry::Histogram(IntervalHistogram { bounds, series, values }) = entry else {
                continue;
            };
            let (start, end) = bounds.unwrap_or_default();
            let length = Duration::from_nanos(end.saturating_sub(start).unsigned_abs());
            let tag = Tag::new(series.tag());
            let written = writer.write_histogram(values, since_1970(start), length, tag);
            written.expect("a vector takes anything, and the histogram has such bounds");
        }
    }

    /// It is of something else.
    fn encode_values(&mut self, _records: &[InSet<'_>], _out: &mut Vec<u8>) {}
}

/// The format has no time before 1970.
fn since_1970(time: Timestamp) -> Duration {
    Duration::from_nanos(u64::try_from(time).unwrap_or_default())
}
