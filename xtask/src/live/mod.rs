//! Sending on an interface: which one ([`link`]), how fast ([`pace`]), frame by frame
//! ([`socket`]) or by the kernel's own live frames ([`feed`],
//! [`orders`]). Called by `send` and `gen`;
//! what is sent is theirs.

pub(crate) mod feed;
pub(crate) mod link;
pub(crate) mod orders;
pub(crate) mod pace;
pub(crate) mod socket;
