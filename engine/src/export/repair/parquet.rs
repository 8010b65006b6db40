//! Row groups of a Parquet file without its end, by the note that follows each of them
//! (`export::parquet`): the last whole note is looked for from the end of the file, and before the
//! row group that it tells of the one before it ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};

use super::{Recovered, Stop, damage};
use crate::export::output::Output;
use crate::export::parquet::end_of;
use crate::limits::{REPAIR_BYTES, REPAIR_NOTE_BYTES};

/// What a file begins with, and notes and files end with.
const MAGIC: &[u8; 4] = b"PAR1";
const MAGIC_BYTES: u64 = MAGIC.len() as u64;

/// The length of the metadata, and the magic.
type End = [u8; 8];
const END_BYTES: u64 = size_of::<End>() as u64;

/// Row groups and all that stands between, and an end for them.
pub(super) fn recover(file: &File, output: &mut Output) -> Recovered {
    let mut records = 0;
    let mut recover = || {
        let len = file.metadata().map_err(|error| damage(&error))?.len();
        let (whole, groups) = groups(file, len).map_err(|error| damage(&error))?;
        // A file that was only not renamed ends with no note.
        if let Ok(metadata) = ParquetMetaDataReader::new().parse_and_finish(file)
            && whole < len
        {
            copy(file, len, output)?;
            records = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
            return Ok(());
        }
        if groups.is_empty() {
            return Err(Stop::Damage("no row group is whole".to_owned()));
        }
        copy(file, whole, output)?;
        let rows: i64 = groups.iter().map(RowGroupMetaData::num_rows).sum();
        let end = end_of(groups).map_err(|error| Stop::Damage(error.to_string()))?;
        output.take(&end);
        records = u64::try_from(rows).unwrap_or(0);
        match len - whole {
            0 => Ok(()),
            bytes => Err(Stop::Damage(format!("its last {bytes} bytes are no whole row group"))),
        }
    };
    let stop = recover();
    (records, stop)
}

/// The first bytes, as they are.
fn copy(file: &File, bytes: u64, output: &mut Output) -> std::result::Result<(), Stop> {
    let mut chunk = vec![0; REPAIR_BYTES];
    for offset in (0..bytes).step_by(REPAIR_BYTES) {
        let left = usize::try_from(bytes - offset).unwrap_or(REPAIR_BYTES);
        let chunk = &mut chunk[..left.min(REPAIR_BYTES)];
        file.read_exact_at(chunk, offset).map_err(|error| damage(&error))?;
        output.take(chunk);
        output.write_some()?;
    }
    Ok(())
}

/// Whole row groups, in order, and where the note of the last ends.
fn groups(file: &File, len: u64) -> io::Result<(u64, Vec<RowGroupMetaData>)> {
    let mut end = len;
    while let Some(magic) = last_magic(file, end)? {
        let whole = magic + MAGIC_BYTES;
        if let Some(groups) = chain(file, whole)? {
            return Ok((whole, groups));
        }
        // It was data that looks like one; what ends before its last byte is next.
        end = whole - 1;
    }
    Ok((0, Vec::new()))
}

/// Where the last magic that ends by `end` begins.
fn last_magic(file: &File, end: u64) -> io::Result<Option<u64>> {
    let mut end = end;
    let mut chunk = vec![0; REPAIR_BYTES];
    while end >= MAGIC_BYTES {
        let start = end.saturating_sub(REPAIR_BYTES as u64);
        let chunk = &mut chunk[..usize::try_from(end - start).unwrap_or(REPAIR_BYTES)];
        file.read_exact_at(chunk, start)?;
        if let Some(place) = chunk.windows(MAGIC.len()).rposition(|bytes| bytes == MAGIC) {
            return Ok(Some(start + place as u64));
        }
        if start == 0 {
            break;
        }
        // One that lies across.
        end = start + MAGIC_BYTES - 1;
    }
    Ok(None)
}

/// The row groups from the beginning of the file to a note that ends at `end`, if there is one
/// and they follow on each other.
fn chain(file: &File, mut end: u64) -> io::Result<Option<Vec<RowGroupMetaData>>> {
    let mut groups = Vec::new();
    while end > MAGIC_BYTES {
        let Some((start, group)) = note(file, end)? else { return Ok(None) };
        groups.push(group);
        end = start;
    }
    groups.reverse();
    Ok((!groups.is_empty()).then_some(groups))
}

/// The row group that a note tells of which ends at `end`, and where it begins.
fn note(file: &File, end: u64) -> io::Result<Option<(u64, RowGroupMetaData)>> {
    let Some(tail) = end.checked_sub(END_BYTES) else { return Ok(None) };
    let mut bytes = End::default();
    file.read_exact_at(&mut bytes, tail)?;
    let [a, b, c, d, magic @ ..] = bytes;
    let len = u64::from(u32::from_le_bytes([a, b, c, d]));
    let start = tail.checked_sub(len).filter(|_| magic == *MAGIC && len <= REPAIR_NOTE_BYTES);
    let Some(start) = start else { return Ok(None) };
    let mut metadata = vec![0; usize::try_from(len).expect("it is bounded")];
    file.read_exact_at(&mut metadata, start)?;
    let Ok(metadata) = ParquetMetaDataReader::decode_metadata(&metadata) else { return Ok(None) };
    let [group] = metadata.row_groups() else { return Ok(None) };
    // What cannot be its place would make `byte_range` panic.
    let places = group.columns().iter().map(|column| {
        let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let first = u64::try_from(first).ok()?;
        Some((first, first.checked_add(u64::try_from(column.compressed_size()).ok()?)?))
    });
    let Some(places) = places.collect::<Option<Vec<_>>>() else { return Ok(None) };
    let first = places.iter().map(|place| place.0).min();
    let last = places.iter().map(|place| place.1).max();
    let begin = first.filter(|&first| first >= MAGIC_BYTES && first < start);
    Ok(begin.filter(|_| last == Some(start)).map(|begin| (begin, group.clone())))
}
