//! What types, classes and response codes are called (IANA, Domain Name System parameters).

use std::borrow::Cow;

use hickory_proto::rr::RecordType;

use crate::names::NameService;
use crate::names::parse::nbns;

/// Response codes from 0 on (RFC 6895 section 2.3).
const RCODES: [&str; 12] = [
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
    "DSOTYPENI",
];

/// The same from 16 on, as far as responses without signatures have them.
const BADVERS: u16 = 16;

/// mDNS has a bit of its own in the class (RFC 6762 sections 5.4 and 10.2).
const CLASS: u16 = 0x7fff;

/// `A`; one without a name is `TYPE65280` (RFC 3597 section 5).
pub(crate) fn type_name(service: NameService, kind: u16) -> Cow<'static, str> {
    match (service, kind) {
        (NameService::Nbns, nbns::NB) => "NB".into(),
        (NameService::Nbns, nbns::NBSTAT) => "NBSTAT".into(),
        _ => match RecordType::from(kind) {
            RecordType::Unknown(_) => format!("TYPE{kind}").into(),
            known => <&'static str>::from(known).into(),
        },
    }
}

/// `IN`; one without a name is `CLASS65280` (RFC 3597 section 5).
pub(crate) fn class_name(class: u16) -> Cow<'static, str> {
    match class & CLASS {
        1 => "IN".into(),
        3 => "CH".into(),
        4 => "HS".into(),
        254 => "NONE".into(),
        255 => "ANY".into(),
        other => format!("CLASS{other}").into(),
    }
}

/// `NOERROR`; one without a name is `RCODE4095`.
pub(crate) fn rcode_name(rcode: u16) -> Cow<'static, str> {
    match RCODES.get(usize::from(rcode)) {
        Some(&name) => name.into(),
        None if rcode == BADVERS => "BADVERS".into(),
        None => format!("RCODE{rcode}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_name_is_a_number() {
        let dns = |kind| type_name(NameService::Dns, kind);
        assert_eq!([1, 28, 65, 32, 65_280].map(dns), ["A", "AAAA", "HTTPS", "TYPE32", "TYPE65280"]);
        assert_eq!(type_name(NameService::Nbns, 32), "NB");
        assert_eq!([1, 0x8001, 3, 9].map(class_name), ["IN", "IN", "CH", "CLASS9"]);
        assert_eq!([0, 3, 16, 23].map(rcode_name), ["NOERROR", "NXDOMAIN", "BADVERS", "RCODE23"]);
    }
}
