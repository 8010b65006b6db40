//! The first request of an HTTP/1 connection (RFC 9112): which host it asks, and who asks.

use std::net::IpAddr;

use super::Read;
use super::text::text;
use crate::names::FlowFact;

/// Header fields of a request that are read. Of one with more the first count.
const FIELDS: usize = 100;

/// How methods begin: those of RFC 9110, PATCH, WebDAV's with its versions (RFC 3253) and
/// calendars, UPnP's, and what Microsoft's programs have of their own.
pub(crate) const METHODS: [&[u8; 4]; 38] = [
    b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"CONN", b"OPTI", b"TRAC", b"PATC", b"PROP",
    b"REPO", b"MKCO", b"MOVE", b"COPY", b"LOCK", b"UNLO", b"SEAR", b"SUBS", b"UNSU", b"NOTI",
    b"MERG", b"VERS", b"CHEC", b"UNCH", b"UPDA", b"LABE", b"BASE", b"MKAC", b"MKWO", b"MKCA",
    b"BCOP", b"BMOV", b"BDEL", b"BPRO", b"POLL", b"RPC_", b"CCM_", b"BITS",
];

/// Whether a stream may begin with a request, in constant time.
pub(crate) fn may_begin(stream: &[u8]) -> bool {
    stream.first_chunk::<4>().is_some_and(|first| METHODS.contains(&first))
}

/// Whether it may behind an empty line, which servers pass over (RFC 9112 section 2.2).
pub(crate) fn may_begin_behind_line(stream: &[u8]) -> bool {
    stream.strip_prefix(b"\r\n").is_some_and(may_begin)
}

/// What is behind such a line.
fn behind_line(stream: &[u8]) -> &[u8] {
    stream.strip_prefix(b"\r\n").unwrap_or(stream)
}

/// The first line of `stream`, without its end, if that is there.
fn first_line(stream: &[u8]) -> Option<&[u8]> {
    let end = stream.iter().position(|&byte| byte == b'\n')?;
    Some(stream[..end].trim_ascii_end())
}

/// Whether `stream` begins with a line of HTTP/1, so that it is surely a request.
pub(crate) fn has_version(stream: &[u8]) -> bool {
    first_line(behind_line(stream))
        .is_some_and(|line| line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"))
}

/// Whether a request that begins a stream surely ends in these bytes of it, and can be read.
pub(crate) fn is_whole(stream: &[u8]) -> bool {
    let stream = behind_line(stream);
    let line = stream.iter().position(|&byte| byte == b'\n').map(|end| &stream[..end]);
    let is_read = line.is_some_and(|line| {
        line.iter().filter(|&&byte| byte == b' ').count() == 2
            && [&b" HTTP/1.1\r"[..], b" HTTP/1.0\r"].iter().any(|end| line.ends_with(end))
    });
    is_read && stream.ends_with(b"\r\n\r\n")
}

/// Where in `stream`, which begins with a request, the bytes begin that a proxy is asked to pass on
/// (CONNECT, RFC 9110 section 9.3.6); `None` if it is asked for something else.
pub(crate) fn passed_on_from(stream: &[u8]) -> Option<usize> {
    let end = stream.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4);
    behind_line(stream).starts_with(b"CONNECT ").then_some(end.unwrap_or(stream.len()))
}

/// Reads the request that begins `stream`. If nothing can follow, as the rest `is_cut`, the whole
/// lines that are there count.
pub(crate) fn read(stream: &[u8], is_cut: bool) -> Read<Vec<FlowFact>> {
    let stream = behind_line(stream);
    let whole_lines;
    let bytes = if is_cut {
        let end = stream.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        whole_lines = [&stream[..end], b"\r\n"].concat();
        &whole_lines[..]
    } else {
        stream
    };
    parse(bytes, is_cut).unwrap_or_else(|| {
        // Not all targets are as the standard wants them: the fields can be read without.
        let line = bytes.iter().position(|&byte| byte == b'\n').map(|end| bytes.split_at(end + 1));
        let Some((line, rest)) = line else { return if is_cut { Read::No } else { Read::More } };
        if !has_version(bytes) {
            return Read::No;
        }
        let without = parse(&[b"GET / HTTP/1.1\r\n", rest].concat(), is_cut);
        without.or_else(|| salvage(line, rest)).unwrap_or(Read::No)
    })
}

/// What the fields say that stand before what cannot be read in `rest`, which follows the line of a
/// request. `None` if that is nothing.
fn salvage(line: &[u8], rest: &[u8]) -> Option<Read<Vec<FlowFact>>> {
    let whole_lines = rest.split_inclusive(|&byte| byte == b'\n');
    let lines = whole_lines.map_while(|line| line.strip_suffix(b"\n"));
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    // The end of the head, or where something is that no field may have.
    let is_read = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    let fields = lines.take_while(|line| !line.is_empty() && line.iter().all(is_read));
    let fields = fields.take(FIELDS).filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = str::from_utf8(&line[..colon]).ok()?;
        Some(httparse::Header { name, value: &line[colon + 1..] })
    });
    let fields: Vec<_> = fields.collect();
    let line = str::from_utf8(line).unwrap_or_default();
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let facts = match words[..] {
        [method, target, _] => facts(method == "CONNECT", target, &fields),
        _ => facts(false, "", &fields),
    };
    (!facts.is_empty()).then_some(Read::Done(facts))
}

/// `None` if it is no request.
fn parse(bytes: &[u8], is_cut: bool) -> Option<Read<Vec<FlowFact>>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    // One odd field must not hide the others.
    let mut lenient = httparse::ParserConfig::default();
    lenient.ignore_invalid_headers_in_requests(true);
    Some(match lenient.parse_request(&mut request, bytes).ok()? {
        httparse::Status::Complete(_) => {
            let target = request.path.unwrap_or_default();
            let is_connect = request.method == Some("CONNECT");
            Read::Done(facts(is_connect, target, request.headers))
        }
        httparse::Status::Partial if !is_cut => Read::More,
        httparse::Status::Partial => Read::No,
    })
}

fn facts(is_connect: bool, target: &str, fields: &[httparse::Header<'_>]) -> Vec<FlowFact> {
    let field = |name: &str| {
        let found = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| field.value.trim_ascii()).filter(|value| !value.is_empty())
    };
    // What a proxy is asked for names the host in the target, which counts before the field (RFC
    // 9112 section 3.2.2): as the field has it, if that says the same, or the name of an address.
    let authority = if is_connect { Some(target) } else { absolute(target) };
    let authority = authority.map(str::as_bytes).filter(|authority| !authority.is_empty());
    let host = match (authority, field("host")) {
        (Some(authority), Some(host)) if !is_another(host, authority) => Some(host),
        (authority, host) => authority.or(host),
    };
    let host = host.map(|host| FlowFact::HttpHost(text(host)));
    let agent = field("user-agent").map(|agent| FlowFact::UserAgent(text(agent)));
    host.into_iter().chain(agent).collect()
}

/// The authority of an absolute target, without what is before an at sign.
fn absolute(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.rsplit('@').next().unwrap_or(authority))
}

/// Whether a host is another than that of the target: ports do not count, and an address may have a
/// name.
fn is_another(host: &[u8], authority: &[u8]) -> bool {
    let [host, wanted] = [host, authority].map(without_port);
    let is_address = |host| str::from_utf8(host).is_ok_and(|text| text.parse::<IpAddr>().is_ok());
    !host.eq_ignore_ascii_case(wanted) && (is_address(host) || !is_address(wanted))
}

/// A host without its port, and an IPv6 address without its brackets.
fn without_port(host: &[u8]) -> &[u8] {
    let end = host.iter().rposition(|byte| !byte.is_ascii_digit());
    let end = end.filter(|&end| host[end] == b':').unwrap_or(host.len());
    let host = &host[..end];
    host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &str, is_cut: bool) -> [Option<String>; 2] {
        let Read::Done(facts) = read(request.as_bytes(), is_cut) else { return [None, None] };
        let mut said = [None, None];
        for fact in facts {
            match fact {
                FlowFact::HttpHost(host) => said[0] = Some(host.into()),
                FlowFact::UserAgent(agent) => said[1] = Some(agent.into()),
                _ => unreachable!(),
            }
        }
        said
    }

    #[test]
    fn what_cannot_be_read_is_not_whole() {
        let is_whole = |line: &str| is_whole(format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
        assert!(is_whole("GET / HTTP/1.1") && is_whole("POST /a?b HTTP/1.0"));
        assert!(
            !is_whole("GET /a b HTTP/1.1") && !is_whole("OPTIONS * RTSP/1.0") && !is_whole("GET /")
        );
    }

    #[test]
    fn hosts_as_requests_name_them() {
        let host = |request: &str| check(request, false)[0].clone().unwrap_or_default();
        assert_eq!(host("GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n"), "a.example:8080");
        assert_eq!(
            host("GET http://u@b.example/x HTTP/1.1\r\nhost: a.example\r\n\r\n"),
            "b.example"
        );
        assert_eq!(host("CONNECT c.example:443 HTTP/1.1\r\n\r\n"), "c.example:443");
        assert_eq!(host("GET /?u=http://x/ HTTP/1.0\r\nHost:  d.example \r\n\r\n"), "d.example");
        assert_eq!(host("GET / HTTP/1.0\r\nHost:\r\n\r\n"), "");
        assert_eq!(host("GET / HTTP/2.0\r\nHost: e.example\r\n\r\n"), "");
        assert_eq!(host("GET / HTTP/1.1\r\nno field\r\nHost: f.example\r\n\r\n"), "f.example");
        assert_eq!(host("GET http:///x HTTP/1.1\r\nHost: g.example\r\n\r\n"), "g.example");
        assert_eq!(host("GET /a b HTTP/1.1\r\nHost: h.example\r\n\r\n"), "h.example");
        assert_eq!(host("CONNECT a b HTTP/1.1\r\nHost: i.example\r\n\r\n"), "i.example");
        let both = check("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: w\u{e9}/1\r\n\r\n", false);
        assert_eq!(both, [Some("a".into()), Some("w\u{e9}/1".into())]);
    }

    #[test]
    fn a_target_counts_before_a_field_that_says_another_host() {
        let host = |target: &str, field: &str| {
            let method = if target.contains('/') { "GET" } else { "CONNECT" };
            let said =
                check(&format!("{method} {target} HTTP/1.1\r\nHost: {field}\r\n\r\n"), false);
            said[0].clone().unwrap_or_default()
        };
        assert_eq!(host("a.example:443", "A.example"), "A.example", "without its port");
        assert_eq!(host("http://a.example/x", "a.example:80"), "a.example:80");
        assert_eq!(host("a.example:443", "b.example"), "a.example:443");
        assert_eq!(host("http://a.example/x", "b.example"), "a.example");
        for address in ["192.0.2.1:443", "[2001:db8::1]:443", "http://192.0.2.1/x"] {
            assert_eq!(host(address, "a.example"), "a.example", "the name of {address}");
        }
        assert_eq!(host("192.0.2.1:443", "192.0.2.2"), "192.0.2.1:443");
    }

    #[test]
    fn a_target_that_is_no_text_hides_no_host() {
        let request = b"GET /caf\xe9 HTTP/1.1\r\nHost: a.example\r\nAccept: x\r\n\r\n";
        let said = Read::Done(vec![FlowFact::HttpHost("a.example".into())]);
        assert_eq!(read(request, false), said);
        assert_eq!(read(&request[..45], true), said);
        assert_eq!(read(&request[..45], false), Read::More);
        assert_eq!(read(b"GET /caf\xe9 RTSP/1.0\r\nHost: a.example\r\n\r\n", false), Read::No);
    }

    #[test]
    fn an_odd_target_and_field_hide_no_host_either() {
        let request = "GET /a b HTTP/1.1\r\nno field\r\nHost: f.example\r\n\r\n";
        assert_eq!(check(request, false)[0].as_deref(), Some("f.example"));
        let line = b"GET /s?q=a b&c=d";
        assert!(matches!(read(line, false), Read::More), "its line may go on");
        assert!(matches!(read(line, true), Read::No));
        assert!(matches!(read(b"GET /a b\r\nHost: f.example\r\n\r\n", false), Read::No));
    }

    #[test]
    fn what_was_cut_counts_as_far_as_it_goes() {
        let request = "GET / HTTP/1.1\r\nHost: a.example\r\nUser-Age";
        assert_eq!(check(request, true)[0].as_deref(), Some("a.example"));
        assert_eq!(read(request.as_bytes(), false), Read::More);
        assert_eq!(check("GET / HTTP/1.1\r\nHost: a.exa", true)[0], None, "half a name is none");
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(FIELDS + 1));
        assert_eq!(read(many.as_bytes(), false), Read::No);
    }

    #[test]
    fn what_cannot_be_read_hides_nothing_that_stands_before_it() {
        let named = "GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: w/1\r\n";
        let both = [Some("a.example".into()), Some("w/1".into())];
        let many = "a: b\r\n".repeat(FIELDS + 1);
        for behind in ["X: a\rb\r\n", "X: a\0b\r\n", "X\0: a\r\n", &many] {
            for end in ["\r\n", ""] {
                assert_eq!(check(&format!("{named}{behind}{end}"), end.is_empty()), both);
            }
            // What stands behind it, and what is no line of its own.
            let hidden = format!("GET / HTTP/1.1\r\n{behind}Host: a.example\r\n\r\n");
            assert_eq!(check(&hidden, false), [None, None], "{behind:?}");
        }
        let hidden = "GET / HTTP/1.1\r\nX: a\rHost: b.example\r\nHost: a.example\r\n\r\n";
        assert_eq!(check(hidden, false), [None, None]);
        let target = "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\nX: \0\r\n\r\n";
        assert_eq!(check(target, false)[0].as_deref(), Some("b.example"));
        let is_first = "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\nX: \0\r\n\r\n";
        assert_eq!(check(is_first, false)[0].as_deref(), Some("a.example"));
    }

    #[test]
    fn an_empty_line_may_stand_before_a_request() {
        let request = b"\r\nCONNECT a.example:443 HTTP/1.1\r\n\r\n";
        assert!(may_begin_behind_line(request) && is_whole(request) && has_version(request));
        assert!(!may_begin(request) && !may_begin_behind_line(&request[2..]));
        assert_eq!(passed_on_from(request), Some(request.len()));
        let odd = "\r\nGET /a b HTTP/1.1\r\nHost: b.example\r\n\r\n";
        assert_eq!(check(odd, false)[0].as_deref(), Some("b.example"));
    }
}
