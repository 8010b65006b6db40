//! Elements of flowtap's own, by what a file says of them: type information records (RFC 5610) tell
//! what an element of an enterprise is called, so that no enterprise number has to be known.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::elements::{Meaning, TunnelPart, number};
use super::ipfix::{Field, least, take_value};
use crate::export::schema::Kind;
use crate::export::values::Places;
use crate::limits::CONVERT_NAMES;

/// Numbers of the elements that say what another one is: privateEnterpriseNumber,
/// informationElementId, informationElementName.
const ABOUT: [u16; 3] = [346, 303, 341];

/// What stands for 1, 2 and so on.
const TCP_STATES: [&str; 5] = ["established", "half_open", "closed", "reset", "midstream"];
const APP_SOURCES: [&str; 2] = ["payload", "port"];

/// What elements of enterprises are, as far as it was told and they are ours.
#[derive(Default)]
pub(super) struct OwnElements(HashMap<(u32, u16), Meaning>);

impl OwnElements {
    /// What an element means, if it is one of ours.
    pub(super) fn meaning(&self, enterprise: u32, number: u16) -> Option<Meaning> {
        self.0.get(&(enterprise, number)).copied()
    }

    /// Whether records of a template are about elements.
    pub(super) fn is_told_by(fields: &[Field]) -> bool {
        ABOUT.iter().all(|about| fields.iter().any(|field| field.is_element(*about)))
    }

    /// Reads a set of such records. Whether anything of it was new.
    pub(super) fn learn(
        &mut self,
        fields: &[Field],
        mut set: &[u8],
        places: &Places,
    ) -> Result<bool, String> {
        let least = least(fields);
        if least == 0 {
            return Err("a template of options has no bytes".to_owned());
        }
        let mut is_new = false;
        // What is shorter than a record is padding.
        while set.len() >= least {
            let mut about = [None; ABOUT.len()];
            for field in fields {
                let value = take_value(&mut set, field.bytes())?;
                if let Some(which) = ABOUT.iter().position(|about| field.is_element(*about)) {
                    about[which] = Some(value);
                }
            }
            let [Some(enterprise), Some(element), Some(name)] = about else { continue };
            let enterprise = number(enterprise).and_then(|it| u32::try_from(it).ok());
            let element = number(element).and_then(|it| u16::try_from(it).ok());
            let meaning = str::from_utf8(name).ok().and_then(|name| meaning(name, places));
            if let (Some(enterprise), Some(element), Some(meaning)) = (enterprise, element, meaning)
                && self.0.len() < CONVERT_NAMES
            {
                // The first word counts.
                if let Entry::Vacant(place) = self.0.entry((enterprise, element & 0x7fff)) {
                    place.insert(meaning);
                    is_new = true;
                }
            }
        }
        Ok(is_new)
    }
}

/// What an element of this name is: it is called as its field is, without side and unit.
fn meaning(name: &str, places: &Places) -> Option<Meaning> {
    let (name, is_reverse) = match name.strip_prefix("reverseFlowtap") {
        Some(name) => (name, true),
        None => (name.strip_prefix("flowtap")?, false),
    };
    match name {
        "TcpState" => return Some(Meaning::OwnCode("tcp_state", &TCP_STATES)),
        "AppSource" => return Some(Meaning::OwnCode("app_source", &APP_SOURCES)),
        "TunnelType" => return Some(Meaning::Tunnel(TunnelPart::Kind)),
        "TunnelSource" => return Some(Meaning::Tunnel(TunnelPart::Source)),
        "TunnelDestination" => return Some(Meaning::Tunnel(TunnelPart::Destination)),
        "TunnelId" => return Some(Meaning::Tunnel(TunnelPart::Id)),
        _ => {}
    }
    let mut field = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !field.is_empty() {
            field.push('_');
        }
        field.push(letter.to_ascii_lowercase());
    }
    let of_side = format!("{}_{field}", if is_reverse { "dst" } else { "src" });
    let of_flow = [field.clone(), format!("{field}_ns")].into_iter().filter(|_| !is_reverse);
    let (field, kind) = of_flow.chain([of_side]).find_map(|field| places.named(&field))?;
    match kind {
        Kind::Number => Some(Meaning::OwnNumber(field)),
        Kind::Flag => Some(Meaning::OwnFlag(field)),
        Kind::Text => Some(Meaning::OwnText(field)),
        Kind::Device => Some(Meaning::OwnDevice(field)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::ipfix::own_names;

    #[test]
    fn every_element_of_ours_is_known_by_its_name() {
        let places = Places::new();
        let unknown: Vec<_> = own_names().filter(|name| meaning(name, &places).is_none()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        for name in ["flowtapNothing", "reverseFlowtapSni", "sni", "flowtap", "flowtapÄ"] {
            assert_eq!(meaning(name, &places), None, "{name}");
        }
    }
}
