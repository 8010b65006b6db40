//! JSON as all formats made of it write it: text with its quotes, and objects.

use std::io::Write as _;

use crate::export::line::{Line, is_harmful};

/// Writes text with all its quotes, and nothing that could do something to a terminal as it is.
#[inline(never)]
pub(super) fn quote(text: &str, out: &mut Vec<u8>) {
    if text.contains(|c: char| c >= '\u{7f}' && is_harmful(c)) {
        let quoted = serde_json::to_string(text).expect("a string takes any text");
        return escape(&quoted, out);
    }
    serde_json::to_writer(out, text).expect("a vector takes any text");
}

/// JSON with what is harmful in it as `\u009b`: that leaves what is not ASCII as it is, and DEL.
pub(super) fn escape(json: &str, out: &mut Vec<u8>) {
    if !json.contains(is_harmful) {
        return out.extend_from_slice(json.as_bytes());
    }
    for character in json.chars() {
        if is_harmful(character) {
            for &mut unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("a vector takes anything");
            }
        } else {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Writes the members of an object, absent ones left out.
pub(super) struct Object<'a> {
    line: &'a mut Line,
    is_empty: bool,
}

impl<'a> Object<'a> {
    /// An object that `write` fills.
    pub(super) fn write(line: &'a mut Line, write: impl FnOnce(&mut Object<'_>)) {
        line.bytes(b"{");
        let mut object = Object { line: &mut *line, is_empty: true };
        write(&mut object);
        line.bytes(b"}");
    }

    /// A member with a value that `write` writes, if there is one.
    pub(super) fn member<T>(
        &mut self,
        name: &str,
        value: Option<T>,
        write: impl FnOnce(&mut Line, T),
    ) {
        let Some(value) = value else { return };
        self.line.bytes(if self.is_empty { b"\"" } else { b",\"" });
        self.is_empty = false;
        self.line.bytes(name.as_bytes());
        self.line.bytes(b"\":");
        write(self.line, value);
    }

    /// A number.
    pub(super) fn number(&mut self, name: &str, value: Option<impl Into<u64>>) {
        self.member(name, value, |line, value| line.number(value.into()));
    }

    /// A value that needs quotes around it and nothing else.
    pub(super) fn quoted<T>(
        &mut self,
        name: &str,
        value: Option<T>,
        write: impl FnOnce(&mut Line, T),
    ) {
        self.member(name, value, |line, value| {
            line.bytes(b"\"");
            write(line, value);
            line.bytes(b"\"");
        });
    }

    /// Text of ours.
    pub(super) fn plain(&mut self, name: &str, value: Option<&str>) {
        self.quoted(name, value, |line, text| line.bytes(text.as_bytes()));
    }

    /// Text that may hold anything.
    pub(super) fn text(&mut self, name: &str, value: Option<&str>) {
        self.member(name, value, |line, text| {
            let mut quoted = Vec::new();
            quote(text, &mut quoted);
            line.bytes(&quoted);
        });
    }

    /// An object, if something is in it.
    pub(super) fn object(
        &mut self,
        name: &str,
        is_there: bool,
        write: impl FnOnce(&mut Object<'_>),
    ) {
        self.member(name, is_there.then_some(()), |line, ()| Object::write(line, write));
    }
}
