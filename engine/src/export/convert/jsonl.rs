//! JSON lines read back: one object in each line.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufRead, Read};
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Bytes, LeftOut, Reader, Record};
use crate::export::schema::Kind;
use crate::export::values::{Places, Value, Values};
use crate::limits::CONVERT_LINE_BYTES;
use crate::sync::Arc;

pub(super) struct JsonLines {
    bytes: Bytes,
    places: Arc<Places>,
    line: Vec<u8>,
    number: u64,
}

impl JsonLines {
    pub(super) fn new(bytes: Bytes, places: &Arc<Places>) -> Self {
        Self { bytes, places: Arc::clone(places), line: Vec::new(), number: 0 }
    }

    fn fail(&self, cause: impl fmt::Display) -> Record {
        Record::Broken { place: format!("line {}", self.number), cause: cause.to_string() }
    }
}

impl Reader for JsonLines {
    fn next(&mut self, left_out: &mut LeftOut) -> Record {
        loop {
            self.line.clear();
            self.number += 1;
            let most = CONVERT_LINE_BYTES as u64 + 1;
            let read = (&mut self.bytes).take(most).read_until(b'\n', &mut self.line);
            match read {
                Ok(0) => return Record::End,
                Ok(_) if self.line.len() > CONVERT_LINE_BYTES => {
                    return self.fail(format!("longer than {CONVERT_LINE_BYTES} bytes"));
                }
                Ok(_) if self.line.trim_ascii().is_empty() => {}
                Ok(_) => break,
                Err(error) => return self.fail(error),
            }
        }
        let members = match serde_json::from_slice::<Members<'_>>(&self.line) {
            Ok(members) => members,
            // What has its end in the middle of the last line was cut.
            Err(error) if error.is_eof() && !self.line.ends_with(b"\n") => {
                return self.fail("it is cut");
            }
            Err(error) => return self.fail(cause_of(&error)),
        };
        let mut record = Values::new(&self.places);
        for (name, raw) in members.0 {
            let Some((place, kind)) = self.places.find(&name) else {
                left_out.note(&name);
                continue;
            };
            if raw.get() == "null" {
                continue;
            }
            match value(kind, raw) {
                Some(value) => record.set(place, value),
                None => return self.fail(format!("{name} has a wrong value")),
            }
        }
        // Other lines have fields of the same names: statistics of intervals, Zeek's.
        if ["kind", "src_ip", "dst_ip"].iter().all(|name| *record.get(name) == Value::Absent) {
            return self.fail("it has neither kind nor addresses: it is no record");
        }
        Record::One(record)
    }
}

/// Without the line, which would be that of this object alone.
fn cause_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let cause = text.split(" at line ").next().unwrap_or_default();
    format!("{cause} at column {}", error.column())
}

/// A value as it stands there.
fn value(kind: Kind, raw: &RawValue) -> Option<Value> {
    match kind {
        Kind::Number | Kind::Decimal | Kind::Flag => Value::from_text(kind, raw.get()),
        Kind::Vlans | Kind::Mpls | Kind::Counts => {
            let numbers: Vec<u64> = serde_json::from_str(raw.get()).ok()?;
            Value::from_numbers(kind, &numbers)
        }
        Kind::Tunnel => {
            let parts: Tunnel = serde_json::from_str(raw.get()).ok()?;
            Value::tunnel(&parts.kind, [parts.src_ip, parts.dst_ip], parts.id)
        }
        Kind::Device => {
            let Device { mac, vendor, hostname, source } = serde_json::from_str(raw.get()).ok()?;
            Value::device(&mac, vendor, hostname, source)
        }
        Kind::Word | Kind::Text | Kind::Mac | Kind::Address | Kind::Time => {
            let text: Cow<'_, str> = serde_json::from_str(raw.get()).ok()?;
            Value::from_text(kind, &text)
        }
    }
}

#[derive(Deserialize)]
struct Tunnel {
    #[serde(rename = "type")]
    kind: String,
    src_ip: Option<IpAddr>,
    dst_ip: Option<IpAddr>,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct Device {
    mac: String,
    vendor: Option<String>,
    hostname: Option<String>,
    source: String,
}

/// The members of an object, their values as they stand there.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Object)
    }
}
