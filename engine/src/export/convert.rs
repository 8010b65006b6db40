//! Files of records into files of other formats: `flowtap convert`.
//!
//! One thread reads, a batch of records at a time, and writes each to all outputs before the next:
//! memory does not depend on how long a file is. What is not known to an input is absent in what is
//! made of it; what an input has and we do not is counted by name. A file that breaks is read up to
//! there; an output that cannot be written ends, and the others go on.

#[cfg(feature = "columnar")]
mod columnar;
mod csv;
mod elements;
mod input;
pub(super) mod ipfix;
mod jsonl;
mod own;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::export::completed::Completed;
use crate::export::output::{Fault, Output};
use crate::export::queue::Progress;
use crate::export::values::{InSet, Places, Values};
use crate::export::{Encoder, SinkSpec, Target};
use crate::flow::FeaturesSet;
use crate::limits::{BATCH_RECORDS, CONVERT_NAMES};
use crate::sync::Arc;

/// Bytes of a file, decompressed.
type Bytes = BufReader<Box<dyn Read + Send>>;

/// Reads records one after the other.
trait Reader {
    /// The next record. What has no field is noted in `left_out`. After [`Record::Broken`] there
    /// is none.
    fn next(&mut self, left_out: &mut LeftOut) -> Record;
}

/// What a [`Reader`] has read.
enum Record {
    One(Values),
    /// The proper end.
    End,
    /// Nothing can be read from there on.
    Broken {
        place: String,
        cause: String,
    },
}

/// How many values there were that no field has, by name.
#[derive(Debug, Default)]
struct LeftOut(BTreeMap<String, u64>);

impl LeftOut {
    fn note(&mut self, name: &str) {
        if let Some(count) = self.0.get_mut(name) {
            *count += 1;
        } else {
            // Whoever makes up ever more names is not remembered by all of them.
            let name = if self.0.len() < CONVERT_NAMES { name } else { "others" };
            *self.0.entry(name.to_owned()).or_default() += 1;
        }
    }
}

/// What a conversion has done.
#[derive(Debug, Default)]
pub struct Converted {
    /// Records that were read.
    pub records: u64,
    /// Of each output its name, and the records and bytes of its complete files.
    pub outputs: Vec<(String, u64, u64)>,
    /// Of each input what has no field in a record, and how often.
    pub left_out: Vec<(String, BTreeMap<String, u64>)>,
    /// What went wrong.
    pub errors: Vec<Error>,
}

/// Reads all records of the files, and writes them to all sinks. Without a `set` the first records
/// decide whether outputs have the extended one.
///
/// # Errors
/// If a sink is a collector, or cannot be opened. Of what breaks later [`Converted`] tells.
pub fn convert(
    inputs: &[PathBuf],
    sinks: &[SinkSpec],
    set: Option<FeaturesSet>,
) -> Result<Converted> {
    let is_far = |it: &&SinkSpec| matches!(it.target, Target::Collector(_) | Target::Stream(_));
    if let Some(collector) = sinks.iter().find(is_far) {
        return Err(Error::new(format!("output {}", collector.name()), "it is a collector")
            .advise("name a file"));
    }
    let places = Places::new();
    let mut run = Run { sinks, set, writers: None, done: Converted::default() };
    for path in inputs {
        let mut left_out = LeftOut::default();
        match input::open(path, &places) {
            Ok(mut reader) => run.read(path, reader.as_mut(), &mut left_out)?,
            Err(error) => run.done.errors.push(error),
        }
        if !left_out.0.is_empty() {
            run.done.left_out.push((path.display().to_string(), left_out.0));
        }
    }
    run.finish()
}

struct Run<'a> {
    sinks: &'a [SinkSpec],
    set: Option<FeaturesSet>,
    /// Made when the first records are there.
    writers: Option<(FeaturesSet, Vec<Writer>)>,
    done: Converted,
}

impl Run<'_> {
    /// Reads a file to its end, or to where it breaks.
    fn read(&mut self, path: &Path, reader: &mut dyn Reader, left_out: &mut LeftOut) -> Result<()> {
        let mut batch = Vec::with_capacity(BATCH_RECORDS);
        loop {
            batch.clear();
            let end = loop {
                match reader.next(left_out) {
                    Record::One(mut record) => {
                        record.set_community_id(false);
                        batch.push(record);
                        if batch.len() == BATCH_RECORDS {
                            break None;
                        }
                    }
                    end => break Some(end),
                }
            };
            self.write(&batch, left_out)?;
            match end {
                None => {}
                Some(Record::Broken { place, cause }) => {
                    let operation = format!("read {}", path.display());
                    let error = Error::new(operation, format!("{place}: {cause}"));
                    let error = error.advise("the records before it were converted");
                    self.done.errors.push(error);
                    return Ok(());
                }
                Some(_) => return Ok(()),
            }
        }
    }

    fn write(&mut self, batch: &[Values], left_out: &mut LeftOut) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let is_extended = batch.iter().any(Values::is_extended);
        let set = *match &mut self.writers {
            Some((set, _)) => set,
            none => {
                let seen = if is_extended { FeaturesSet::Extended } else { FeaturesSet::Basic };
                let set = self.set.unwrap_or(seen);
                &none.insert((set, Writer::open_all(self.sinks, set)?)).0
            }
        };
        if is_extended && !set.is_extended() {
            let extended = batch.iter().filter(|record| record.is_extended());
            extended.for_each(|_| left_out.note("what --features-set extended would keep"));
        }
        self.done.records += batch.len() as u64;
        let rows: Vec<_> = batch.iter().map(|record| record.of(set)).collect();
        let writers = self.writers.iter_mut().flat_map(|(_, writers)| writers);
        for writer in writers.filter(|writer| writer.output.is_some()) {
            self.done.errors.extend(writer.write(&rows).err());
        }
        Ok(())
    }

    /// Completes all outputs: also where there is no record, but not where nothing could be read.
    fn finish(mut self) -> Result<Converted> {
        let writers = match self.writers.take() {
            Some((_, writers)) => writers,
            None if self.done.errors.is_empty() => {
                Writer::open_all(self.sinks, self.set.unwrap_or_default())?
            }
            None => Vec::new(),
        };
        for mut writer in writers {
            self.done.errors.extend(writer.complete().err());
            self.done.outputs.push((writer.spec.name(), writer.records, writer.bytes));
        }
        Ok(self.done)
    }
}

/// An output.
struct Writer {
    spec: SinkSpec,
    encoder: Box<dyn Encoder>,
    /// `None` once it has failed or is complete.
    output: Option<Output>,
    progress: Arc<Progress>,
    completed: Completed,
    encoded: Vec<u8>,
    /// Records of the current file.
    begun: u64,
    /// Of files that are complete.
    records: u64,
    bytes: u64,
}

impl Writer {
    fn open_all(sinks: &[SinkSpec], set: FeaturesSet) -> Result<Vec<Self>> {
        let mut writers = Vec::new();
        for spec in sinks {
            let progress = Arc::new(Progress::new());
            match Output::open(spec, &[], &progress) {
                Ok(output) => writers.push(Self {
                    spec: spec.clone(),
                    encoder: spec.encoder(set),
                    output: Some(output),
                    progress,
                    completed: Completed::default(),
                    encoded: Vec::new(),
                    begun: 0,
                    records: 0,
                    bytes: 0,
                }),
                Err(error) => {
                    // Nothing is left of the others.
                    writers.into_iter().filter_map(|it: Self| it.output).for_each(Output::discard);
                    return Err(error);
                }
            }
        }
        for writer in &mut writers {
            writer.encoder.begin(&mut writer.encoded);
        }
        Ok(writers)
    }

    fn write(&mut self, rows: &[InSet<'_>]) -> Result<()> {
        self.encoder.encode_values(rows, &mut self.encoded);
        self.begun += rows.len() as u64;
        self.put()?;
        let most = self.spec.options.rotate_size;
        let is_long = |output: &Output| most.is_some_and(|most| output.bytes() >= most);
        if self.encoder.is_full() || self.output.as_ref().is_some_and(is_long) {
            self.complete()?;
            self.output = Some(Output::open(&self.spec, &[], &self.progress)?);
            self.encoder.begin(&mut self.encoded);
        }
        Ok(())
    }

    /// Writes out what was encoded.
    fn put(&mut self) -> Result<()> {
        let Some(output) = &mut self.output else { return Ok(()) };
        output.take(&self.encoded);
        self.encoded.clear();
        output.write_due().map_err(|fault| self.fail(&fault))
    }

    /// Completes the current file.
    fn complete(&mut self) -> Result<()> {
        if self.output.is_none() {
            return Ok(());
        }
        self.encoder.end(&mut self.encoded);
        self.put()?;
        let Some(mut output) = self.output.take() else { return Ok(()) };
        output.finish(&mut self.completed, || true).map_err(|fault| self.fail(&fault))?;
        self.records += std::mem::take(&mut self.begun);
        self.bytes += output.bytes();
        Ok(())
    }

    /// It takes nothing more; what was written of a file stays under its name of that time.
    fn fail(&mut self, fault: &Fault) -> Error {
        self.output = None;
        Error::new(format!("write {}", self.spec.name()), fault.error())
    }
}
