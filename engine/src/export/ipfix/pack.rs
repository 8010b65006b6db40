//! Data records into messages that are no longer than a reader or a path takes.

use super::MESSAGE_BYTES;
use super::definition::Definition;
use super::message::{Dialect, SET_HEADER};
use super::record::{PLAIN_BYTES, Record, write};
use super::template::{
    LONGEST, MILLISECONDS, NAMES, NETFLOW9, REVERSE, TIMES, Template, number_of, template_of,
};
use crate::export::Rows;
use crate::export::schema::Row;
use crate::flow::FlowRecord;
use crate::limits::{BATCH_RECORDS, INTERFACE_BYTES};

/// Sets in one message, at most; there are fewer templates that differ in a batch.
const SETS: usize = BATCH_RECORDS;

/// Packs records by template.
pub(in crate::export) struct Packer {
    dialect: Dialect,
    most_bytes: usize,
    /// Whether a record has one direction only.
    is_uniflow: bool,
    /// Whether times are in milliseconds too.
    has_milliseconds: bool,
    /// Whether there are own elements.
    has_own: bool,
    /// Whether a message takes the description of any template with names.
    describes_names: bool,
    /// The records of a message by template.
    sets: Vec<(Template, Vec<u8>)>,
    /// Bytes of the message.
    bytes: usize,
    /// Data records of the message.
    records: u32,
    /// Flow records of ours of which the first data record is in the message.
    flows: u32,
    record: Record,
}

/// A message.
pub(in crate::export) struct Packed<'a> {
    dialect: Dialect,
    sets: &'a [(Template, Vec<u8>)],
    bytes: usize,
    /// Its data records.
    pub(in crate::export) records: u32,
    /// How many flow records of ours it has, or begins.
    pub(in crate::export) flows: u32,
}

impl Packed<'_> {
    fn sets(&self) -> impl Iterator<Item = (Template, &Vec<u8>)> {
        let sets = self.sets.iter().filter(|(_, set)| !set.is_empty());
        sets.map(|(template, set)| (*template, set))
    }

    /// What its sets are made by.
    pub(in crate::export) fn templates(&self) -> impl Iterator<Item = Template> {
        self.sets().map(|(template, _)| template)
    }

    /// Appends it, but for what [`stamp`](super::stamp) writes.
    pub(in crate::export) fn write(&self, out: &mut Vec<u8>) {
        let sets_bytes = self.bytes - self.dialect.header_bytes();
        self.dialect.write_header(sets_bytes, self.records as usize, out);
        for (template, set) in self.sets() {
            self.dialect.write_set(number_of(template), set, out);
        }
    }
}

impl Packer {
    /// Into messages of a file.
    pub(in crate::export) fn for_file(has_own: bool) -> Self {
        Self::new(Dialect::Ipfix, MESSAGE_BYTES, false, false, has_own)
    }

    /// Into messages of up to `most_bytes`, with all that some collector needs. If it
    /// `is_uniflow`, each direction of a flow that has packets is a record of its own. Names are
    /// left out of a record with which they fill more than a message.
    pub(in crate::export) fn for_collector(
        dialect: Dialect,
        most_bytes: usize,
        is_uniflow: bool,
        has_own: bool,
    ) -> Self {
        // NetFlow has nothing else.
        let is_uniflow = is_uniflow || dialect == Dialect::NetFlow9;
        Self::new(dialect, most_bytes, is_uniflow, true, has_own)
    }

    fn new(
        dialect: Dialect,
        most_bytes: usize,
        is_uniflow: bool,
        has_milliseconds: bool,
        has_own: bool,
    ) -> Self {
        let room = most_bytes - dialect.header_bytes() - SET_HEADER - dialect.most_padding();
        let plain = match dialect {
            Dialect::Ipfix => PLAIN_BYTES,
            // It has no own elements, nor the interface's name.
            Dialect::NetFlow9 => PLAIN_BYTES - 1 - INTERFACE_BYTES,
        };
        assert!(room >= plain, "no record would fit");
        let mut longest = Vec::new();
        Definition::Ours(LONGEST).describe(Some(u32::MAX), &mut longest);
        Self {
            dialect,
            most_bytes,
            is_uniflow,
            has_milliseconds,
            has_own,
            describes_names: longest.len() <= room,
            sets: Vec::new(),
            bytes: dialect.header_bytes(),
            records: 0,
            flows: 0,
            record: Record::default(),
        }
    }

    /// Gives messages with all of the records.
    pub(in crate::export) fn pack(&mut self, rows: &Rows<'_>, give: &mut impl FnMut(Packed<'_>)) {
        for row in rows.iter() {
            let template = template_of(&row, self.has_own);
            if self.is_uniflow {
                let turned = turned(row.record).filter(|_| template & REVERSE != 0);
                let is_silent = turned.is_some() && is_silent(row.record);
                if !is_silent {
                    self.add(&row, template & !REVERSE, 1, give);
                }
                if let Some(record) = turned {
                    // What the initiator said, and to whom, belongs to its direction.
                    let row = Row { record: &record, labels: None, ..row };
                    let template = template_of(&row, self.has_own) & !REVERSE;
                    self.add(&row, template, u32::from(is_silent), give);
                }
            } else {
                self.add(&row, template, 1, give);
            }
        }
        self.give(give);
    }

    fn add(
        &mut self,
        row: &Row<'_>,
        template: Template,
        flows: u32,
        give: &mut impl FnMut(Packed<'_>),
    ) {
        let adds = self.has_milliseconds && template & TIMES != 0;
        let mut template = if adds { template | MILLISECONDS } else { template };
        if self.dialect == Dialect::NetFlow9 {
            template |= NETFLOW9;
        }
        let set_header = SET_HEADER + self.dialect.most_padding();
        write(row, template, &mut self.record);
        let room = self.most_bytes - self.dialect.header_bytes() - set_header;
        let is_too_long = self.record.len() > room || !self.describes_names;
        if is_too_long && template & NAMES != 0 {
            self.record.take();
            template &= !NAMES;
            write(row, template, &mut self.record);
        }
        let (record, place) = (self.record.len(), self.place_of(template));
        let header = |set: &Vec<u8>| if set.is_empty() { set_header } else { 0 };
        let is_full = self.bytes + header(&self.sets[place].1) + record > self.most_bytes;
        if is_full || self.records as usize == BATCH_RECORDS {
            self.give(give);
        }
        // It stays where it is, emptied or not.
        let set = &mut self.sets[place].1;
        self.bytes += header(set) + record;
        set.extend_from_slice(self.record.take());
        self.records += 1;
        self.flows += flows;
    }

    /// Gives what has gathered.
    fn give(&mut self, give: &mut impl FnMut(Packed<'_>)) {
        let Self { dialect, bytes, records, flows, .. } = *self;
        if records > 0 {
            give(Packed { dialect, sets: &self.sets, bytes, records, flows });
            self.sets.iter_mut().for_each(|(_, set)| set.clear());
            (self.bytes, self.records, self.flows) = (dialect.header_bytes(), 0, 0);
        }
    }

    /// Where records of a template go.
    fn place_of(&mut self, template: Template) -> usize {
        let place = self.sets.iter().position(|&(known, _)| known == template);
        place.unwrap_or_else(|| {
            // Those of messages before count too, and few have more than a handful.
            if self.sets.len() >= SETS {
                self.sets.retain(|(_, set)| !set.is_empty());
            }
            self.sets.push((template, Vec::new()));
            self.sets.len() - 1
        })
    }
}

/// Whether nothing came from the initiator: the first packet told that it was the other one's.
fn is_silent(record: &FlowRecord) -> bool {
    record.total.sides[record.initiator().idx()].packets == 0
}

/// The record as its responder sees it, if it is known who that is.
fn turned(record: &FlowRecord) -> Option<FlowRecord> {
    let mut turned = *record;
    let opening = turned.total.opening.as_mut()?;
    opening.initiator = opening.initiator.opposite();
    Some(turned)
}
