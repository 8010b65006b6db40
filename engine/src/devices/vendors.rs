//! Who has made a device, by its MAC address: the IEEE's registries of the blocks that it gives
//! (MA-L of 24 bits, MA-M of 28, MA-S of 36 and IAB before it), as Debian's package `ieee-data`
//! has them.
//!
//! Read once, at the start of a run. Without the files no vendor is known, and nothing else
//! changes.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::devices::label::Identity;
use crate::devices::{Mac, is_random};
use crate::error::{Error, Result};
use crate::limits::{NAME_BYTES, VENDOR_FILE_BYTES};
use crate::sync::Arc;

/// Where Debian puts them.
pub const VENDORS_FOLDER: &str = "/usr/share/ieee-data";

/// The registries, in files of the same form: registry, block in hexadecimal, organisation,
/// address.
const FILES: [&str; 4] = ["oui.csv", "mam.csv", "oui36.csv", "iab.csv"];

/// Whose a block is that is given out in smaller ones.
const REGISTRY: &str = "IEEE Registration Authority";

/// Blocks with their vendors.
#[derive(Debug, Default)]
pub struct Vendors {
    /// By how many bits of the address count, and these.
    blocks: HashMap<(u8, u64), Arc<Identity>>,
}

impl Vendors {
    /// Reads the registries in `folder`. One that is not there is left out, and so is a line that
    /// is not of their form.
    ///
    /// # Errors
    /// If a file is there and cannot be read, or is none of the IEEE's.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut vendors = Self::default();
        let mut names = HashSet::new();
        for path in FILES.map(|name| folder.join(name)) {
            let fail = |cause: String| {
                Error::new(format!("read {}", path.display()), cause)
                    .advise("install the package ieee-data anew, or name a folder with --oui")
            };
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(fail(error.to_string())),
            };
            let mut lines =
                csv::ReaderBuilder::new().flexible(true).from_reader(file.take(VENDOR_FILE_BYTES));
            let header = lines.headers().map_err(|error| fail(error.to_string()))?;
            if header.get(1) != Some("Assignment") {
                return Err(fail("it is no registry of the IEEE in CSV".to_owned()));
            }
            let mut line = csv::StringRecord::new();
            loop {
                match lines.read_record(&mut line) {
                    Ok(true) => vendors.add(&line, &mut names),
                    Ok(false) => break,
                    // Not UTF-8: that line is left out.
                    Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {}
                    Err(error) => return Err(fail(error.to_string())),
                }
            }
        }
        Ok(vendors)
    }

    /// Blocks that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Who has made the device with this address, if that is known: the smallest block counts.
    #[must_use]
    pub fn of(&self, mac: Mac) -> Option<Arc<str>> {
        self.identity_of(mac)?.vendor.clone()
    }

    /// The same, as all that is known of a device.
    pub(super) fn identity_of(&self, mac: Mac) -> Option<&Arc<Identity>> {
        if self.is_empty() || is_random(mac) {
            return None;
        }
        let [a, b, c, d, e, f] = mac;
        let whole = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        // A block that is given out in smaller ones has no vendor itself, so most have one look.
        let large = self.blocks.get(&(24, whole >> 24))?;
        if large.vendor.is_some() {
            return Some(large);
        }
        [36_u8, 28].into_iter().find_map(|bits| self.blocks.get(&(bits, whole >> (48 - bits))))
    }

    fn add(&mut self, line: &csv::StringRecord, names: &mut HashSet<Arc<Identity>>) {
        let (Some(block), Some(name)) = (line.get(1), line.get(2)) else { return };
        let bits = match block.len() {
            6 => 24,
            7 => 28,
            9 => 36,
            _ => return,
        };
        let Ok(number) = u64::from_str_radix(block, 16) else { return };
        let name = name.trim();
        let name = &name[..name.floor_char_boundary(NAME_BYTES)];
        let is_vendor = !name.is_empty() && name != REGISTRY;
        let identity = Identity { vendor: is_vendor.then(|| name.into()), hostname: None };
        let identity = match names.get(&identity) {
            Some(same) => Arc::clone(same),
            None => {
                let identity = Arc::new(identity);
                names.insert(Arc::clone(&identity));
                identity
            }
        };
        if bits > 24 {
            // Also where the large registry is not there.
            let split = || Arc::new(Identity { vendor: None, hostname: None });
            self.blocks.entry((24, number >> (bits - 24))).or_insert_with(split);
        }
        self.blocks.insert((bits, number), identity);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HEADER: &str = "Registry,Assignment,Organization Name,Organization Address\n";

    #[test]
    fn the_smallest_block_counts_and_no_vendor_has_made_a_random_address() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, lines: &str| {
            fs::write(folder.path().join(name), format!("{HEADER}{lines}")).unwrap();
        };
        write(
            "oui.csv",
            "MA-L,001122,\"Large, Inc. \",Somewhere\nMA-L,70B3D5,IEEE Registration Authority,\n\
             MA-L,0050C2,IEEE Registration Authority,\n\
             MA-L,zz1122,Bad,\nMA-L,22\nMA-L,021122,Local,\n",
        );
        write("iab.csv", "IAB,0050C2FFF,Smaller,\n");
        write("oui36.csv", "MA-S,70B3D5F2F,Small,\n");
        write("mam.csv", "MA-M,208593B,Middle,\n");
        let vendors = Vendors::read(folder.path()).unwrap();
        for (mac, want) in [
            ([0x00, 0x11, 0x22, 9, 9, 9], Some("Large, Inc.")),
            ([0x70, 0xb3, 0xd5, 0xf2, 0xf0, 9], Some("Small")),
            ([0x70, 0xb3, 0xd5, 0xf2, 0xe0, 9], None),
            ([0x20, 0x85, 0x93, 0xbf, 9, 9], Some("Middle")),
            ([0x20, 0x85, 0x93, 0xaf, 9, 9], None),
            ([0x00, 0x50, 0xc2, 0xff, 0xf0, 9], Some("Smaller")),
            ([0x02, 0x11, 0x22, 9, 9, 9], None),
            ([0x99; 6], None),
        ] {
            assert_eq!(vendors.of(mac).as_deref(), want, "{mac:02x?}");
        }
    }

    #[test]
    fn without_files_nothing_is_known_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Vendors::read(folder.path()).unwrap().is_empty());
        fs::write(folder.path().join("oui.csv"), "a,b,c\n1,2,3\n").unwrap();
        let error = Vendors::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no registry of the IEEE"), "{error}");
    }
}
