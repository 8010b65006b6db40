//! Every bound of the engine, in one place. What happens at each bound is said beside it.

use std::time::Duration;

/// Packets in one batch of an `rx` thread: decoded together, counted together.
pub const BATCH_PACKETS: usize = 64;

/// Deltas in one batch on its way from a core table to `merge`.
pub const BATCH_DELTAS: usize = 128;

/// Delta batches in flight between one core table and one `merge` thread. When all are
/// in flight the table keeps its deltas and publishes later: nothing is lost.
pub const RING_BATCHES: usize = 16;

const _: () = assert!(
    RING_BATCHES * BATCH_DELTAS >= BATCH_PACKETS
        && RING_BATCHES * BATCH_DELTAS >= OVERFLOW_AGGREGATES,
    "an empty ring takes what a batch of packets closes, and all overflow aggregates at once"
);

/// Batches of packets in flight from the reader of recordings to one of several workers: more than
/// it reads while one that has found nothing sleeps.
pub const DEALT_BATCHES: usize = 64;

/// Packets in one batch on its way from the queue where they arrived to their flow's core.
pub const EXCHANGE_BATCH: usize = 32;

/// Packets that may be on this way to one core, from all queues together, in full batches
/// (and four batches from each at least); from queues that are added later up to four times as many
/// on top. For what comes beyond there are overflow aggregates.
pub const EXCHANGE_PACKETS: usize = 16_384;

/// Flow-table slots of all cores together, unless `--max-flows` says otherwise.
pub const DEFAULT_MAX_FLOWS: usize = 1_000_000;

/// The most slots of one core table (slot numbers are 24 bits wide).
pub const MAX_CORE_FLOWS: usize = 1 << 24;

/// The most slots that `--max-flows` may ask for.
pub const MAX_FLOWS: usize = MAX_CORE_FLOWS * MAX_CORES;

/// Workers that `--workers` may ask for, and queues that one capture may have.
pub const MAX_CORES: usize = 64;

/// Fragmented datagrams whose first fragment is remembered, per decoding thread. When
/// full, the oldest is forgotten and its later fragments go to a flow without ports.
pub const FRAGMENT_DATAGRAMS: usize = 16_384;

/// How long the first fragment of a datagram is remembered: what hosts wait for the others (IPv4:
/// RFC 1122 section 3.3.2, 60 to 120 s instead of RFC 791's 15; IPv6: RFC 8200 section 4.5, 60 s).
pub const FRAGMENT_LIFE_NS: u64 = 60 * 1_000_000_000;

/// Headers below IP that are taken off one frame, behind its Ethernet header, or one tunnel: each
/// tag, what says which IP version follows, and so on. With more it is counted as undecodable.
pub const LINK_HEADERS: usize = 32;

/// MPLS labels that are taken off one frame. A frame with more is counted as undecodable.
pub const MPLS_LABELS: usize = 16;

/// Attributes of one `NFLOG` frame that are looked at for its packet.
pub const NFLOG_ATTRIBUTES: usize = 32;

/// Words of a radiotap header that say what it holds. Flags are not looked for behind more.
pub const RADIOTAP_WORDS: usize = 32;

/// Tunnels in tunnels that are taken off one packet: what is in more is left in them.
pub const TUNNEL_DEPTH: usize = 7;

/// MPLS labels, outermost first, that are kept in records; what is further in is left out.
pub const RECORD_LABELS: usize = 9;

/// Different encapsulations of flows (a tunnel's ends, MPLS labels, a third VLAN, and in half of
/// the room also an identifier) in one run. Those with one find room by [`IDENTIFIED_LOOKS`]: of 15,000
/// nearly all, of 20,000 all but some 50, of 32,767 all but some 2,800. What finds none is missing
/// in its flow's record, or has no identifier, and its packets are counted
/// (`encapsulation_not_kept`).
pub const ENCAPSULATIONS: usize = 65_535;

/// Places in each half at which one encapsulation may stand: where none of them is free it finds no
/// room.
pub const ENCAPSULATION_LOOKS: usize = 64;

/// The same of one with an identifier, in one half: each packet of one that has no room looks at
/// all of them.
pub const IDENTIFIED_LOOKS: usize = 16;

/// VLAN tags, outermost first, that tell flows apart.
pub const KEY_VLANS: usize = 2;

/// VLAN tags, outermost first, that are kept in records; what is further in is left out.
pub const RECORD_VLANS: usize = 3;

/// IPv6 extension headers that are walked in one packet; more is counted as `bad_ip`.
pub const IPV6_EXTENSIONS: usize = 64;

/// Bytes of a file with an expression. The time of libpcap grows by about the cube of the number of
/// its terms: measured, 200 addresses take a third of a second.
pub const FILTER_BYTES: u64 = 1 << 16;

/// Instructions that a filter may be compiled to (a list of some ten thousand addresses); a longer
/// one is refused.
pub const FILTER_INSTRUCTIONS: usize = 1 << 18;

/// How often a filter may go back for one frame, as it does in `ip6 protochain` for each header:
/// a frame for which that is not enough is rejected, as newer versions of libpcap do after as many
/// turns (`MAX_BACKWARD_JUMPS`).
pub const FILTER_TURNS: usize = 64;

/// How far packet time may step back and still count as reordering; a larger step is
/// taken as a new recording (see [`crate::time::PacketClock`]).
pub const REORDER_NS: u64 = 60 * 1_000_000_000;

/// How long after a gap in a TCP sequence a segment that fills it counts as out of order, and
/// not as sent again, where the handshake was not seen: less than it takes to notice a loss.
pub const REORDERED_SEGMENT_NS: u64 = 3_000_000;

/// Overflow aggregates per core: protocol and destination prefix, when the table is full.
/// The last of them takes whatever finds no room among the others.
pub const OVERFLOW_AGGREGATES: usize = 256;

/// Counters of extended statistics that have gone past what they hold (2^32 packets of one length
/// in a part of a flow, say) and are remembered to have, per core. What comes on top is missing in
/// the histograms: hundreds of such flows at a time take days to come about.
pub const CARRIED_COUNTERS: usize = 1_024;

/// Slots that the hand of a core table visits after one batch: with the batch's packets the
/// bound of what a batch may take, however full the table is. What is left it catches up on
/// later.
pub const HAND_SLOTS: u32 = 256;

/// Slots of a full table that one packet of a live capture looks at for a flow that is over.
/// Where packets can wait, all are looked at.
pub const SWEEP_SLOTS: usize = 1_024;

/// Slots that are looked at for a one-packet flow to give up, when the table is full.
pub const PRESSURE_SCAN: usize = 64;

/// Parts of the global map. `reap` goes over one at a time and keeps its keys in mind, so
/// this bounds them to a small share of the live flows.
pub const MAP_PARTS: usize = 64;

/// Records in one batch on its way to the sinks.
pub const BATCH_RECORDS: usize = 256;

/// Records that wait for one sink at most. A live capture counts what comes on top as not
/// sent, but at its end; `read` waits, as its packets can wait too.
pub const SINK_RECORDS: usize = BATCH_RECORDS * 256;

/// The same where those who bring records can wait (`read`): few enough to stay in a
/// processor's caches on their way.
pub const SINK_RECORDS_READ: usize = BATCH_RECORDS * 8;

/// Memory that the records waiting for one sink take at most. Sinks share their batches, so
/// several that are equally slow take it once.
pub const SINK_BYTES: usize = 41 << 20;

/// What extended statistics of these records take on top of that.
pub const SINK_FEATURES_BYTES: usize = 36 << 20;

/// How long a sink may take nothing at the end of a capture, or of a `read` that was told to
/// stop. Then it is given up, and what is not known to be written is counted as not sent.
pub const SINK_PATIENCE: Duration = Duration::from_secs(5);

/// How long a sink has in all at that time, as long as it goes on taking something; and a
/// file to get onto its disk.
pub const SINK_PATIENCE_IN_ALL: Duration = Duration::from_secs(60);

/// Things that a sink says to the user that wait for being shown. More are left out.
pub const SINK_NOTICES: usize = 16;

/// How long a file that cannot be written makes what is full wait; then what comes is counted as
/// not sent. How long the end waits for it. Below [`SINK_PATIENCE`], so that the cause is known.
pub const FILE_PATIENCE: Duration = Duration::from_secs(4);

const _: () = assert!(FILE_PATIENCE.as_nanos() < SINK_PATIENCE.as_nanos());

/// How long writing must go well after an outage until the next one is told as another.
pub const FILE_STANDS: Duration = Duration::from_secs(10);

/// Folders that are looked through for files that are no longer kept.
pub const KEEP_FOLDERS: usize = 100_000;

/// Bytes that a repair reads at once.
pub const REPAIR_BYTES: usize = 1 << 20;

/// The longest metadata of one row group that a repair takes for such.
pub const REPAIR_NOTE_BYTES: u64 = 16 << 20;

/// The longest line of a file that is repaired.
pub const LINE_BYTES: u64 = 1 << 20;

/// Names of files that a sink remembers to have completed.
pub const COMPLETED_NAMES: usize = 1_024;

/// Messages that wait for a collector. Then its queue fills.
pub const COLLECTOR_SPOOL_BYTES: usize = 16 << 20;

/// Bytes of messages that are read back from a spool before they are sent.
pub const COLLECTOR_READ_AHEAD: usize = 1 << 20;

/// Messages that are sent out of a spool before new records are looked for.
pub const COLLECTOR_SLICE: usize = 4;

/// Bytes that one sink's spool on disk has unless `--spool-size` says otherwise.
pub const SPOOL_BYTES: u64 = 1 << 30;

/// The least that it may have.
pub const SPOOL_BYTES_LEAST: u64 = 1_000_000;

/// Segments that a full spool has about: the oldest goes to make room.
pub const SPOOL_SEGMENTS: u64 = 64;

/// Bytes of an entry of a spool; one that claims more is damaged.
pub const SPOOL_ENTRY_BYTES: usize = 16 << 20;

/// How long a collector may take to accept a connection.
pub const COLLECTOR_CONNECT: Duration = Duration::from_secs(3);

/// How long a connection over UDP stands without a refusal before it counts as up: longer than one
/// takes to come back.
pub const COLLECTOR_STANDS: Duration = Duration::from_secs(1);

/// How long a collector may take nothing over TCP; then the connection is opened anew.
pub const COLLECTOR_SILENCE: Duration = Duration::from_secs(30);

/// How long a collector that cannot be reached makes what is full wait; then what comes is counted
/// as not sent. How long the end waits for it. Below [`SINK_PATIENCE`], so that the cause is known.
pub const COLLECTOR_PATIENCE: Duration = Duration::from_secs(4);

const _: () = assert!(COLLECTOR_PATIENCE.as_nanos() < SINK_PATIENCE.as_nanos());

/// How often to look whether what was sent has arrived.
pub const COLLECTOR_LOOK: Duration = Duration::from_millis(20);

/// Messages to a broker that may wait for being acknowledged, unless the user says how many.
pub const STREAM_IN_FLIGHT: usize = 1_024;

/// How many the user may choose: with one alone, who finds out about a subject that takes nothing
/// would hold up all others.
pub const STREAM_IN_FLIGHT_BOUNDS: std::ops::RangeInclusive<usize> = 2..=16_384;

/// How many records there may be in a message to a broker.
pub const STREAM_BATCH_BOUNDS: std::ops::RangeInclusive<usize> = 1..=1_000;

/// A message of several records to a broker has no more bytes than this.
pub const STREAM_MESSAGE_BYTES: usize = 64 << 10;

/// How long a broker may take to acknowledge a message; then it is sent again over another
/// connection.
pub const STREAM_ANSWER: Duration = Duration::from_secs(5);

/// How long messages of a subject that a broker has refused must be taken until that counts as over.
pub const STREAM_STANDS: Duration = Duration::from_secs(10);

/// Of what is under way to a broker, a subject leaves so much to others, if there are any: it has no
/// more than so many times what is free beside one.
pub const STREAM_SHARE: usize = 7;

/// Of [`COLLECTOR_SPOOL_BYTES`], what messages of subjects that a broker refuses may keep from those
/// of others.
pub const STREAM_REFUSED_BYTES: usize = COLLECTOR_SPOOL_BYTES / 2;

/// How often to look after a connection to a broker over which nothing is under way.
pub const STREAM_IDLE_LOOK: Duration = Duration::from_secs(1);

/// Before a collector is tried again for the first time, and at most; a half more or less.
pub const COLLECTOR_RETRY_FIRST: Duration = Duration::from_millis(250);
/// See [`COLLECTOR_RETRY_FIRST`].
pub const COLLECTOR_RETRY_MOST: Duration = Duration::from_secs(30);

/// Bytes of a message over UDP unless `--datagram-bytes` says otherwise: what fits Ethernet's 1,500
/// with the headers of a tunnel or two.
pub const DATAGRAM_BYTES: usize = 1_400;

/// What may be asked for: a template of any record fits (RFC 7011 section 10.3.3 has 512 where
/// nothing is known), and a datagram over IPv4.
pub const DATAGRAM_BYTES_BOUNDS: std::ops::RangeInclusive<usize> = 512..=65_507;

/// How often, and after how many messages, templates are sent again over UDP (RFC 7011 section
/// 8.4).
pub const TEMPLATES_EVERY: Duration = Duration::from_secs(600);
/// See [`TEMPLATES_EVERY`].
pub const TEMPLATES_EVERY_MESSAGES: u32 = 4_096;

/// How often a collector is told totals.
pub const TOTALS_EVERY: Duration = Duration::from_secs(60);

/// Bytes of interfaces' names in the name of a file; what is more is cut.
pub const FILE_NAME_BYTES: usize = 100;

/// Bytes of an interface's name in IPFIX; what is more, as files may have, is cut.
pub const INTERFACE_BYTES: usize = 64;

/// How long a format that writes many records at once holds them back, unless `--checkpoint` says
/// otherwise.
pub const CHECKPOINT: Duration = Duration::from_secs(10);

/// Records that columns are made of at once.
pub const COLUMN_ROWS: usize = 8_192;

/// Records in one row group of a Parquet file, compressed in memory until it is full: as many as
/// DuckDB puts into one.
pub const ROW_GROUP_ROWS: usize = 122_880;

const _: () = assert!(ROW_GROUP_ROWS.is_multiple_of(COLUMN_ROWS));

/// Row groups of one Parquet file, and record batches of one Arrow file. Their places stay in
/// memory until they are written at its end (some 10 KiB each); then another file begins.
pub const ROW_GROUPS: usize = 1_024;

/// The longest line, or record of CSV, that `convert` reads, in bytes; more is a damaged file.
pub const CONVERT_LINE_BYTES: usize = 1 << 20;

/// Templates of one file that `convert` keeps; more is a damaged file.
pub const CONVERT_TEMPLATES: usize = 4_096;

/// Names of what has no field that `convert` counts one by one.
pub const CONVERT_NAMES: usize = 256;

/// The longest packet that a capture file may claim, in bytes; more is a damaged file.
pub const FILE_PACKET_BYTES: usize = 1 << 20;

/// The longest block of a pcapng file; more is a damaged file.
pub const FILE_BLOCK_BYTES: usize = 16 << 20;

/// Bytes that are read from a capture file at once: few enough to be in a processor's second cache
/// still when packets are looked for in them. The buffer grows beyond, up to a power of two that
/// holds one packet or block, only for a file with longer ones.
pub const FILE_BUFFER_BYTES: usize = 1 << 18;

/// Bytes that are decompressed at once. If compressed data is damaged (not merely cut), at
/// most this much of what came before the damage is lost with it.
pub const FILE_DECOMPRESS_BYTES: usize = 32 << 10;

/// The largest window of Zstandard data, as a power of two: 128 MiB, as `zstd -d` takes
/// without being asked; a file that needs more is refused.
pub const FILE_ZSTD_WINDOW_LOG: u32 = 27;

/// Interfaces that one pcapng section may describe; more is a damaged file.
pub const FILE_INTERFACES: usize = 65_536;

/// Frames that one receive queue may hold (256 MiB of 4,096 bytes). When all are in use the
/// kernel drops packets and counts them, by the ring that was short.
pub const MAX_QUEUE_FRAMES: u32 = 65_536;

/// The fewest that a receive queue may be told to hold: a batch.
pub const MIN_QUEUE_FRAMES: u32 = 64;

const _: () = assert!(MIN_QUEUE_FRAMES as usize >= BATCH_PACKETS);

/// The fewest that a queue gets where too little memory may be locked for what was asked: four
/// batches, 1 MiB. With less it is refused.
pub const LOCKED_QUEUE_FRAMES: u32 = 256;

const _: () = assert!(LOCKED_QUEUE_FRAMES >= MIN_QUEUE_FRAMES);

/// Frames that a receive queue holds unless `--ring-frames` says otherwise.
pub const DEFAULT_QUEUE_FRAMES: u32 = 4_096;

/// Bytes of a packet that `observe` has the kernel copy: enough for all headers and for the
/// names in first packets. What is longer is cut, and counts with its length on the wire.
pub const SNAP_BYTES: u32 = 4_096;

/// The fewest bytes of a packet that `--snaplen` may ask for: those of a small packet.
pub const MIN_SNAP_BYTES: u32 = 64;

/// Bytes of a packet that `observe` by XDP copies unless `--snaplen` says otherwise: all headers.
pub const XDP_SNAP_BYTES: u32 = 256;

/// The same where names are learned: what a link of 1,500 bytes carries, so that no hello is cut.
pub const XDP_NAMES_SNAP_BYTES: u32 = 1_536;

/// After so long the kernel hands a block of packets over that is not full (`observe`).
pub const RETIRE_BLOCK_MS: u32 = 10;

/// How long a receive queue may take to give the rest, in ns, once nothing new comes to it. What
/// it has not given by then shows as a residual.
pub const DRAIN_NS: u64 = 500_000_000;

/// How often `main` looks after the links of interfaces: also how long one may be up in between
/// without its being said. How often it goes down is counted by the kernel.
pub const LINK_LOOK: Duration = Duration::from_millis(200);

/// Looks at a link that is up, in each of which its queues give errors, until it is given up as
/// if it were gone.
pub const FAILING_LOOKS: u32 = 5;

/// How often `main` looks whether the host has come to use an interface that is tapped.
pub const USES_LOOK: Duration = Duration::from_secs(2);

/// How many times as long as the last look took the next one is away at least: where there are very
/// many routes it is no more than a fiftieth of the time.
pub const USES_SHARE: u32 = 50;

/// How often it is tried to open an interface anew that has come back.
pub const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// The longest that `--busy-poll` may have the kernel poll a device for, in microseconds.
pub const MAX_BUSY_POLL_US: i64 = 10_000;

/// The N of one in N of `--sample`: more leaves nothing that says anything.
pub const MAX_SAMPLING: u32 = 1_000_000;

/// Address prefixes of one family in a filter in the kernel. A filter with more is refused.
pub const MAX_KERNEL_PREFIXES: usize = 4_096;

/// Flows of one interface whose packets the XDP program may count by itself at one time, shared
/// by all cores alike. Where there are as many, packets of further ones go on to be copied up.
pub const MAX_SHUNTED_FLOWS: u32 = 4_096;

/// The most packets in about a second that `--shunt` may wait for, before it shunts a flow.
pub const MAX_SHUNT_PACKETS: u32 = 1_000_000;

/// The shortest idle timeout of flows that may be shunted: what the kernel has counted comes
/// home within three seconds, and the flow should still be there.
pub const SHUNT_IDLE_NS: u64 = 5_000_000_000;

/// Terms of a `--filter` expression that go into the kernel. Of one with more it decides nothing.
pub const KERNEL_FILTER_TERMS: usize = 256;

/// The longest packet, without its Ethernet header, of an interface that is tapped: a frame
/// with the kernel's room before and after it must fit one page. A driver refuses more.
pub const TAP_MTU: u32 = 3_490;

/// How long a queue or an interface may be busy at the start of a capture: the kernel lets go
/// of what a process had some time after it has ended. Then it is refused.
pub const BUSY_PATIENCE: Duration = Duration::from_secs(1);

/// Peers of established TCP sessions, of IPv4 and of IPv6 each, whose routes are looked up before
/// an interface is taken over. With more than that an address is found first.
pub const SESSION_ROUTES: usize = 4_096;

/// Payloads of each direction of a TCP connection that are copied for the parsers of names once one
/// began with something that they read: what follows of a ClientHello is among them. Of one in
/// shorter payloads, [`STREAM_PARTS`] at most are copied.
pub const NAME_PAYLOADS: u32 = 4;

/// Payloads of each direction of a TCP connection that are looked at for the beginning of a TLS
/// handshake, which may follow a greeting (STARTTLS), as their first byte may begin one. Later ones
/// say no name.
pub const NAME_LOOKS: u32 = 16;

/// Payloads of one direction of a TCP connection, or datagrams of a QUIC one, that a parser takes
/// until it gives up; counted then, if a message had begun.
pub const STREAM_PAYLOADS: u32 = 32;

/// Bytes of one direction of a TCP connection that are kept until a message in them is whole;
/// and of the handshake of a QUIC connection. A longer one is given up, and counted.
pub const STREAM_BYTES: usize = 16 << 10;

/// Pieces of one direction of a TCP connection that are kept, as each packet brings one. With more
/// it is given up, and counted.
pub const STREAM_PARTS: usize = 16;

/// The same of a QUIC handshake: clients cut it into many CRYPTO frames, and mix them.
pub const CRYPTO_PARTS: usize = 64;

/// Flows of which a parser remembers something. Where there are more, those are forgotten of which
/// no bytes are kept, then those of which nothing has come for longest: what was unfinished of them
/// is lost, and counted.
pub const CONVERSATIONS: usize = 1 << 16;

/// Bytes of unfinished messages of all flows. Where there are more, those of which nothing has come
/// for longest are lost, and counted.
pub const CONVERSATION_BYTES: usize = 32 << 20;

/// How long nothing may come of a flow until what a parser remembers of it is forgotten.
pub const CONVERSATION_IDLE_NS: u64 = 30 * 1_000_000_000;

/// Records of one DNS message that are looked at, and addresses that are taken from it: the rest
/// of a message with more is left out.
pub const DNS_RECORDS: usize = 256;

/// Names in a multicast message beside its first question that are looked at for what was asked.
pub const DNS_OTHER_NAMES: usize = 8;

/// Bytes of a name, as text. A longer one is cut.
pub const NAME_BYTES: usize = 255;

/// Bytes of other text that a payload says, as a User-Agent. What is longer is cut.
pub const NAME_TEXT_BYTES: usize = 1_024;

/// How long a payload that begins no message is kept, as one may come that it has overtaken.
pub const OVERTAKEN_NS: u64 = 2 * 1_000_000_000;

/// Datagrams of name services in IP fragments that are put together, or were within
/// [`JOINED_DATAGRAM_LIFE_NS`]. Where there are more, the oldest is forgotten, and counted if it is
/// not whole.
pub const JOINED_DATAGRAMS: usize = 4_096;

/// Bytes of all of them that are kept; as above where there are more.
pub const JOINED_DATAGRAM_BYTES: usize = 4 << 20;

/// Fragments of one: as many as the longest one has on a link of 1,280 bytes, and some more.
pub const JOINED_DATAGRAM_PARTS: usize = 64;

/// How long after its first fragment that was seen the others may come: what hosts wait (Linux:
/// 30 s for IPv4; RFC 8200 section 4.5: 60 s).
pub const JOINED_DATAGRAM_LIFE_NS: u64 = 30 * 1_000_000_000;

/// Later fragments of UDP whose first was not seen before them that each decoder hands over in a
/// second of packet time: they may be of a name service, or of anything.
pub const LONE_FRAGMENTS: u32 = 1_024;

/// Segments of TCP that each decoder remembers whose rest is in later fragments of a tunnel's
/// datagram: those that follow are the next packets of its flow, as a rule.
pub const SPLIT_SEGMENTS: usize = 64;

/// Bytes of a payload that are copied for the `names` thread: what a name is in, whole. Of a
/// fragment it is up to [`CHUNK_BYTES`].
pub const COPIED_BYTES: usize = 4_096;

/// Bytes and payloads of one chunk on the way there.
pub const CHUNK_BYTES: usize = 16 << 10;

/// See [`CHUNK_BYTES`].
pub const CHUNK_PAYLOADS: usize = 128;

/// Chunks in flight from one decoder. With all in flight `read` waits, and `capture` counts what
/// it does not hand over.
pub const HANDOVER_CHUNKS: usize = 64;

/// How often a clock may have been put among intervals whose lines are not written: 1.5 MiB. A file
/// whose times go to and fro more often has lines of wrong times; their sums are right.
pub const CALENDAR_ERAS: usize = 1 << 16;

/// Directions of TCP flows, of those that began last, that a decoder remembers: 64 KiB. Those that
/// meet in one place forget each other.
pub const PICK_PLACES: usize = 1 << 13;

/// Counts of those of which any payload may be wanted: 16 KiB.
pub const PICK_HASHES: usize = 1 << 14;

/// Payloads that the `names` thread reads before it says so, and publishes devices.
pub const ROUND_PAYLOADS: usize = 1_024;

/// Names of flows that are kept, and names of addresses, unless `--max-names` says otherwise.
pub const DEFAULT_MAX_NAMES: usize = 500_000;

/// The most that `--max-names` may ask for.
pub const MAX_NAMES: usize = 100_000_000;

/// Answers that are kept of one client and address, or of one address: flows are named once they
/// are over, by what there was when they began. With more, one of the earliest stands for another
/// that renews it.
pub const ANSWERS_KEPT: usize = 4_096;

/// Answers that are compared for the name of one flow: the latest before it.
pub const ANSWERS_COMPARED: usize = 64;

/// A client that has more than one in so many of all answers has more than its share: where there
/// is no room, answers to it go before those to others.
pub const ANSWERS_SHARE: usize = 16;

/// Messages that are kept of one flow key, until their flows are labelled: the first, and the
/// latest.
pub const FACTS_KEPT: usize = 1_024;

/// Entries of one flow key of what was spoken on it. With more, two that are alike become one that
/// goes from the first to the last; of those that are not the earliest goes, and is counted.
pub const APPS_KEPT: usize = 32;

/// How long what a flow was seen to speak is not noted again, as each message shows it: shorter
/// than any idle timeout that makes sense, so that no other flow begins in between.
pub const APP_AGAIN_NS: i64 = 1_000_000_000;

/// Questions of the last [`QUESTION_LIFE_NS`] that are known, answered or not. When there are more
/// the oldest is forgotten, and if its answer comes later that counts as unsolicited.
pub const QUESTIONS: usize = 65_536;

/// How long a question waits for its answer.
pub const QUESTION_LIFE_NS: u64 = 30 * 1_000_000_000;

/// Bytes of transactions of name services that wait for the other fragments of their answer. Of
/// more there is in the log what their first fragment said.
pub const BEGUN_TRANSACTION_BYTES: usize = 16 << 20;

/// Bytes of transactions of name services that go to their log at once.
pub const TRANSACTION_BATCH_BYTES: usize = 64 << 10;

/// The least and the most that an answer counts for, whatever it says of itself, in seconds.
pub const TTL_SECONDS: [u32; 2] = [10, 24 * 3_600];

/// How long after that it still counts, as stale: connections are begun with addresses that a
/// program has kept.
pub const STALE_NS: u64 = 600 * 1_000_000_000;

/// Flows whose names are not needed any more, on the way back to the `names` thread. With more
/// than that they are forgotten later.
pub const RELEASED_KEYS: usize = 4_096;

/// How long a live capture waits for the `names` thread, which is behind, before it lets records
/// go with what is known.
pub const NAMES_PATIENCE: Duration = Duration::from_millis(100);

/// Devices that are known at one time. When there are more, one in sixteen goes, those that were
/// not seen for longest, and is counted. Some 0.5 KiB each; under an attack, with all their lists
/// full of the longest names, up to 6 KiB.
pub const DEVICES: usize = 32_768;

/// Addresses of one device that are kept: those that were seen last.
pub const DEVICE_ADDRESSES: usize = 16;

/// Ends of flows, as devices with their addresses, that a thread which labels records has noted and
/// not passed on. With more `read` waits until it can, and `capture` counts what it does not note.
pub const DEVICE_SIGHTINGS: usize = 16_384;

/// How often it passes them on, and when they were seen is published at the latest.
pub const DEVICE_SIGHTINGS_EVERY: Duration = Duration::from_secs(1);

/// How many times it may do so before the `names` thread has taken any.
pub const DEVICE_SIGHTINGS_WAITING: usize = 4;

/// Names of one device that are kept: the latest.
pub const DEVICE_NAMES: usize = 8;

/// How often a device may have been called otherwise, and flows of that time still be labelled so.
pub const DEVICE_IDENTITIES: usize = 8;

/// How often an address may have gone to another device, and flows of that time still be labelled
/// so however late they are.
pub const ADDRESS_OWNERS: usize = 64;

/// The same of all addresses together: some 150 bytes each.
pub const PAST_OWNERS: usize = 65_536;

/// Bytes of one registry of vendors that are read. The longest has three million.
pub const VENDOR_FILE_BYTES: u64 = 64 << 20;

/// Bytes of a file of devices that are read: what the most devices with the longest names take.
pub const DEVICE_FILE_BYTES: u64 = 512 << 20;

/// VLANs, names and talkers each that are told apart in one interval of statistics; of more, the
/// lightest go ([`crate::export::intervals`]).
pub const INTERVAL_KEYS: usize = 16_384;

/// Names and talkers that have lines of their own, unless the user says how many.
pub const DEFAULT_TOP: usize = 10;

/// How long an interval of statistics is at least: their numbers are of 32 bits, which is 13 years.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The same, unless the user says how long.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Histograms of a core that are on their way, or on their way back, at most.
pub const METERS_BUFFERS: usize = 4;
