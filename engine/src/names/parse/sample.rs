//! Messages for tests, built by hand.

/// `bytes` behind their length in two bytes.
fn counted(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

pub(crate) fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &counted(content)[..]].concat()
}

pub(crate) fn server_name(name: &str) -> Vec<u8> {
    let entry = [&[0], &counted(name.as_bytes())[..]].concat();
    extension(0, &counted(&entry))
}

pub(crate) fn alpn(protocols: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = protocols
        .iter()
        .flat_map(|name| [&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat())
        .collect();
    extension(16, &counted(&list))
}

/// A handshake message with a ClientHello, without records.
pub(crate) fn client_hello(ciphers: &[u16], extensions: &[Vec<u8>]) -> Vec<u8> {
    let ciphers: Vec<u8> = ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()).collect();
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    body.push(0);
    body.extend(counted(&ciphers));
    body.extend([1, 0]);
    body.extend(counted(&extensions.concat()));
    message(1, &body)
}

/// A ServerHello that chooses TLS 1.3 and its first cipher suite.
pub(crate) fn server_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    body.extend([0, 0x13, 0x01, 0]);
    body.extend(counted(&extension(43, &[3, 4])));
    message(2, &body)
}

/// A Certificate message with a chain of these.
pub(crate) fn certificate_message(chain: &[&[u8]]) -> Vec<u8> {
    let sized = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[1..], bytes].concat()
    };
    message(11, &sized(&chain.iter().flat_map(|one| sized(one)).collect::<Vec<_>>()))
}

/// A certificate for a name.
pub(crate) fn certificate(name: &str) -> Vec<u8> {
    let mut parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().unwrap();
    parameters.self_signed(&key).unwrap().der().to_vec()
}

/// A ServerHello that chooses TLS 1.2, without extensions.
pub(crate) fn server_hello_12() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    body.extend([0, 0xc0, 0x2f, 0]);
    message(2, &body)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

/// Records of at most `most` bytes each.
pub(crate) fn records(message: &[u8], most: usize) -> Vec<u8> {
    message.chunks(most).flat_map(|part| [&[22, 3, 1][..], &counted(part)].concat()).collect()
}

/// A ClientHello for `name`, in one record, of `bytes` bytes or a few less.
pub(crate) fn hello_for(name: &str, bytes: usize) -> Vec<u8> {
    let padding = extension(21, &vec![0; bytes.saturating_sub(100 + name.len())]);
    records(&client_hello(&[0x1301], &[padding, server_name(name)]), 1 << 14)
}
