//! Messages of IPFIX (RFC 7011, in a file by RFC 5655) and of NetFlow version 9 (RFC 3954), one
//! after the other, of ours and of others, as far as their [elements](super::elements) map.
//!
//! Of what options say only what [our own elements](super::own) are is read, and data whose template
//! the file does not have is not; both are counted.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use super::elements::{Known, Meaning, meaning, put};
use super::own::OwnElements;
use super::{Bytes, LeftOut, Reader, Record};
use crate::export::ipfix::{Recognised, recognise};
use crate::export::values::{Places, Value, Values};
use crate::flow::protocol;
use crate::limits::CONVERT_TEMPLATES;
use crate::sync::Arc;
use crate::time::SECOND_NS;

const NETFLOW_9: u16 = 9;
/// Bytes of a header behind the version (RFC 7011 section 3.1, RFC 3954 section 5.1).
const IPFIX_HEADER: usize = 14;
const NETFLOW_9_HEADER: usize = 18;
/// RFC 7011 section 3.3.2.
pub(in crate::export) const SET_HEADER: usize = 4;
/// The length that says that the length stands before the value (RFC 7011 section 7).
const VARIABLE: u16 = 65_535;
/// The first number of a set of data.
pub(in crate::export) const FIRST_DATA_SET: u16 = 256;

/// An element of a template, and what it is to us.
pub(super) struct Field {
    element: Element,
    meaning: Option<Meaning>,
    /// How it is called if it does not map.
    name: String,
}

impl Field {
    pub(super) fn bytes(&self) -> u16 {
        self.element.bytes
    }

    /// Whether it is this one of IANA's.
    pub(super) fn is_element(&self, number: u16) -> bool {
        self.element.enterprise.is_none() && self.element.number == number
    }
}

enum Template {
    Data(Layout),
    /// Without fields where they cannot be told apart.
    Options(Vec<Field>),
}

/// What records of data have.
struct Layout {
    fields: Vec<Field>,
    /// If they are ours.
    recognised: Option<Recognised>,
}

/// Reads messages.
pub(super) struct Messages {
    bytes: Bytes,
    places: Arc<Places>,
    /// Bytes that were taken.
    offset: u64,
    /// By observation domain and number.
    templates: HashMap<(u32, u16), Template>,
    own: OwnElements,
    /// The message that is read.
    is_netflow: bool,
    domain: u32,
    known: Known,
    /// Bytes of it that are left, where it says how many it has.
    left: usize,
    set: Vec<u8>,
    /// The template of the set, if it is one of data, and where in it the next record is.
    data: Option<(u32, u16)>,
    at: usize,
}

impl Messages {
    pub(super) fn new(bytes: Bytes, places: &Arc<Places>) -> Self {
        Self {
            bytes,
            places: Arc::clone(places),
            offset: 0,
            templates: HashMap::new(),
            own: OwnElements::default(),
            is_netflow: false,
            domain: 0,
            known: Known::default(),
            left: 0,
            set: Vec::new(),
            data: None,
            at: 0,
        }
    }

    /// Reads so many bytes into the set's place.
    fn take(&mut self, count: usize) -> io::Result<()> {
        self.set.resize(count, 0);
        self.bytes.read_exact(&mut self.set).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::other("it is cut"),
            _ => error,
        })?;
        self.offset += count as u64;
        Ok(())
    }

    /// Reads the header of a message behind its version.
    fn begin(&mut self, version: u16) -> Result<(), String> {
        let text = |error: io::Error| error.to_string();
        let word = |set: &[u8], at: usize| -> u32 {
            u32::from_be_bytes(*set[at..].first_chunk().expect("the header is there"))
        };
        self.is_netflow = version == NETFLOW_9;
        if self.is_netflow {
            // Count, uptime in ms, seconds, sequence, domain.
            self.take(NETFLOW_9_HEADER).map_err(text)?;
            let sent = i64::from(word(&self.set, 6)) * SECOND_NS.cast_signed();
            let started = sent - i64::from(word(&self.set, 2)) * 1_000_000;
            self.known = Known { sent, started: Some(started), ..Known::default() };
            self.domain = word(&self.set, 14);
        } else if version == 10 {
            // Length, seconds, sequence, domain.
            self.take(IPFIX_HEADER).map_err(text)?;
            let len = usize::from(short_at(&self.set, 0));
            let header = IPFIX_HEADER + 2;
            self.left =
                len.checked_sub(header).ok_or_else(|| format!("a message of {len} bytes"))?;
            let sent = i64::from(word(&self.set, 2)) * SECOND_NS.cast_signed();
            self.known = Known { sent, ..Known::default() };
            self.domain = word(&self.set, 10);
        } else {
            return Err(format!("version {version} instead of 9 or 10"));
        }
        Ok(())
    }

    /// Reads the next set, or the header of the next message. Whether there was one.
    fn step(&mut self, left_out: &mut LeftOut) -> Result<bool, String> {
        let text = |error: io::Error| error.to_string();
        let is_within = !self.is_netflow && self.left > 0;
        if !is_within && self.bytes.fill_buf().map_err(text)?.is_empty() {
            return Ok(false);
        }
        self.take(2).map_err(text)?;
        let number = short_at(&self.set, 0);
        // A version is no number of a set: those below 256 but 0 to 3 are reserved.
        let begins = if self.is_netflow { matches!(number, 9 | 10) } else { !is_within };
        if begins {
            self.begin(number)?;
            return Ok(true);
        }
        self.take(2).map_err(text)?;
        let len = usize::from(short_at(&self.set, 0));
        let body = len.checked_sub(SET_HEADER).ok_or_else(|| format!("a set of {len} bytes"))?;
        if is_within {
            self.left = self.left.checked_sub(len).ok_or("a set is longer than its message")?;
        }
        self.take(body).map_err(text)?;
        match (self.is_netflow, number) {
            (_, FIRST_DATA_SET..) => self.begin_data(number, left_out)?,
            (false, 2) | (true, 0) => self.templates(false)?,
            (false, 3) | (true, 1) => self.templates(true)?,
            _ => left_out.note(&format!("set {number}")),
        }
        Ok(true)
    }

    /// RFC 7011 section 3.4, RFC 3954 sections 5.2 and 6.1.
    fn templates(&mut self, are_options: bool) -> Result<(), String> {
        let mut set = self.set.as_slice();
        // What is shorter than a template is padding.
        while set.len() >= 4 {
            let start = set;
            let number = take_short(&mut set)?;
            let count = take_short(&mut set)?;
            if number < FIRST_DATA_SET {
                // Zeros up to a multiple of four, or a withdrawal of all.
                return Ok(());
            }
            let key = (self.domain, number);
            if count == 0 {
                self.templates.remove(&key);
                continue;
            }
            let template = if are_options {
                // Counts of scopes and others: of elements in IPFIX, of bytes in NetFlow.
                let scopes = take_short(&mut set)?;
                if self.is_netflow {
                    let bytes = usize::from(count) + usize::from(scopes);
                    set = set.get(bytes..).ok_or("an options template is cut")?;
                    Template::Options(Vec::new())
                } else {
                    Template::Options(self.fields(&mut set, count)?)
                }
            } else {
                let fields = self.fields(&mut set, count)?;
                let record = &start[..start.len() - set.len()];
                let recognised = recognise(record).filter(|_| !self.is_netflow);
                Template::Data(Layout { fields, recognised })
            };
            if self.templates.len() >= CONVERT_TEMPLATES && !self.templates.contains_key(&key) {
                return Err(format!("more than {CONVERT_TEMPLATES} templates"));
            }
            self.templates.insert(key, template);
        }
        Ok(())
    }

    fn fields(&self, set: &mut &[u8], count: u16) -> Result<Vec<Field>, String> {
        (0..count).map(|_| field(set, self.is_netflow, &self.own)).collect()
    }

    /// Reads what options say of elements.
    fn learn(&mut self, template: (u32, u16)) -> Result<(), String> {
        let Some(Template::Options(fields)) = self.templates.get(&template) else { return Ok(()) };
        if self.own.learn(fields, &self.set, &self.places)? {
            for template in self.templates.values_mut() {
                let (Template::Data(Layout { fields, .. }) | Template::Options(fields)) = template;
                for field in fields {
                    field.meaning = field.element.meaning(&self.own);
                }
            }
        }
        Ok(())
    }

    /// Sees whether a set of data can be read; then its records are.
    fn begin_data(&mut self, number: u16, left_out: &mut LeftOut) -> Result<(), String> {
        let key = (self.domain, number);
        match self.templates.get(&key) {
            Some(Template::Data(it)) if least(&it.fields) == 0 => {
                return Err(format!("template {number} has no bytes"));
            }
            Some(Template::Data(_)) => (self.data, self.at) = (Some(key), 0),
            Some(Template::Options(fields)) if OwnElements::is_told_by(fields) => {
                return self.learn(key);
            }
            Some(Template::Options(_)) => left_out.note("sets of options"),
            None => left_out.note("sets without a template"),
        }
        Ok(())
    }

    /// The next record of the set, if there is one.
    fn record(&mut self, left_out: &mut LeftOut) -> Result<Option<Values>, String> {
        let template = self.data.and_then(|key| self.templates.get(&key));
        let (Some(Template::Data(layout)), mut set) = (template, &self.set[self.at..]) else {
            return Ok(None);
        };
        let Layout { fields, recognised } = layout;
        // What is shorter than a record is padding.
        if set.len() < least(fields) {
            return Ok(None);
        }
        let mut record = Values::new(&self.places);
        let mut known = self.known;
        let mut has_uptimes = false;
        for field in fields {
            let value = take_value(&mut set, field.bytes())?;
            match field.meaning {
                None => left_out.note(&field.name),
                Some(meaning) => {
                    has_uptimes |= matches!(meaning, Meaning::Uptime(_));
                    put(meaning, value, &mut known, &mut record).ok_or_else(|| {
                        format!("{}: wrong, of {} bytes", field.name, value.len())
                    })?;
                }
            }
        }
        if has_uptimes && self.known.started.is_none() {
            settle_uptimes(&mut record, known.started);
        }
        known.settle_tunnel(&mut record);
        complete(&mut record);
        if recognised.is_some_and(|ours| ours.is_of_silent_responder) {
            record.set_silent_responder();
        }
        record.set_community_id(recognised.is_some());
        self.at = self.set.len() - set.len();
        Ok(Some(record))
    }
}

/// An element as a template names it (RFC 7011 section 3.2).
pub(in crate::export) struct Element {
    pub(in crate::export) enterprise: Option<u32>,
    pub(in crate::export) number: u16,
    /// Of its value, or that its length stands before each.
    pub(in crate::export) bytes: u16,
}

impl Element {
    /// What it means, if a field of ours has it.
    fn meaning(&self, own: &OwnElements) -> Option<Meaning> {
        let of_enterprise = || own.meaning(self.enterprise?, self.number);
        meaning(self.enterprise, self.number).or_else(of_enterprise)
    }
}

/// The next one of a template of IPFIX.
pub(in crate::export) fn take_element(set: &mut &[u8]) -> Result<Element, String> {
    let (number, bytes) = (take_short(set)?, take_short(set)?);
    let enterprise = match number & 0x8000 {
        0 => None,
        _ => Some(u32::from(take_short(set)?) << 16 | u32::from(take_short(set)?)),
    };
    Ok(Element { enterprise, number: number & 0x7fff, bytes })
}

fn field(set: &mut &[u8], is_netflow: bool, own: &OwnElements) -> Result<Field, String> {
    let element = if is_netflow {
        Element { enterprise: None, number: take_short(set)?, bytes: take_short(set)? }
    } else {
        take_element(set)?
    };
    let name = match (element.enterprise, element.number) {
        (None, number) => format!("element {number}"),
        (Some(enterprise), number) => format!("element {number} of enterprise {enterprise}"),
    };
    Ok(Field { meaning: element.meaning(own), element, name })
}

/// Bytes of the shortest record.
pub(super) fn least(fields: &[Field]) -> usize {
    let least = |bytes: u16| if bytes == VARIABLE { 1 } else { bytes.into() };
    fields.iter().map(|field| least(field.bytes())).sum()
}

/// Times since the device was started, once the record has said when that was. If it does not,
/// they are not known.
fn settle_uptimes(record: &mut Values, started: Option<i64>) {
    for name in ["start", "end"] {
        if let Value::Time(since) = *record.get(name) {
            let time = started.and_then(|started| started.checked_add(since));
            record.set_named(name, time.map_or(Value::Absent, Value::Time));
        }
    }
}

/// Routers have long given ICMP's type and code as the destination's port.
fn settle_icmp(record: &mut Values) {
    if record.number("icmp_type").is_none()
        && let Some(both) = record.number("dst_port")
    {
        record.set_named("icmp_type", Value::Number(both >> 8));
        record.set_named("icmp_code", Value::Number(both & 0xff));
    }
}

/// What other fields say.
fn complete(record: &mut Values) {
    if record.text("kind").is_none() {
        record.set_named("kind", Value::Text("flow".to_owned()));
        // A mask is that of the route; only an aggregate has a prefix.
        record.set_named("dst_prefix_length", Value::Absent);
    }
    if let Value::Address(address) = record.get("dst_ip") {
        let version = if address.is_ipv4() { 4 } else { 6 };
        record.set_named("ip_version", Value::Number(version));
    }
    // Some give ports and types in every record.
    let without = match record.number("protocol").and_then(|it| u8::try_from(it).ok()) {
        None => &[][..],
        Some(protocol::ICMP | protocol::ICMPV6) => {
            settle_icmp(record);
            &["src_port", "dst_port"][..]
        }
        Some(_) => &["icmp_type", "icmp_code"][..],
    };
    without.iter().for_each(|name| record.set_named(name, Value::Absent));
    if let (Value::Time(start), Value::Time(end)) = (record.get("start"), record.get("end")) {
        let duration = end.checked_sub(*start).and_then(|ns| u64::try_from(ns).ok());
        record.set_named("duration_ns", duration.map_or(Value::Absent, Value::Number));
    }
}

impl Reader for Messages {
    fn next(&mut self, left_out: &mut LeftOut) -> Record {
        loop {
            let offset = self.offset;
            let next = match self.data {
                Some(_) => self.record(left_out),
                None => match self.step(left_out) {
                    Ok(true) => continue,
                    Ok(false) => return Record::End,
                    Err(cause) => Err(cause),
                },
            };
            match next {
                Ok(Some(record)) => return Record::One(record),
                Ok(None) => self.data = None,
                Err(cause) => return Record::Broken { place: format!("offset {offset}"), cause },
            }
        }
    }
}

/// The number there, which is known to be whole.
pub(in crate::export) fn short_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(in crate::export) fn take_short(set: &mut &[u8]) -> Result<u16, String> {
    let (first, rest) = set.split_first_chunk().ok_or("a template is cut")?;
    *set = rest;
    Ok(u16::from_be_bytes(*first))
}

/// A value of a fixed length, or one that stands before it (RFC 7011 section 7).
pub(in crate::export) fn take_value<'a>(
    set: &mut &'a [u8],
    bytes: u16,
) -> Result<&'a [u8], String> {
    let cut = "a record is cut";
    let mut len = usize::from(bytes);
    if bytes == VARIABLE {
        let (&first, rest) = set.split_first().ok_or(cut)?;
        (len, *set) = (first.into(), rest);
        if first == 255 {
            let (long, rest) = set.split_first_chunk().ok_or(cut)?;
            (len, *set) = (u16::from_be_bytes(*long).into(), rest);
        }
    }
    let (value, rest) = set.split_at_checked(len).ok_or(cut)?;
    *set = rest;
    Ok(value)
}
