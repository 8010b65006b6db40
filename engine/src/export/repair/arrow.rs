//! Record batches of an Arrow file without its end. What comes before the end of a file is, after
//! its magic and zeros up to a multiple of 64 bytes, Arrow's streaming format.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};

use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::FileWriter;

use super::{Recovered, Stop, damage};
use crate::export::output::Output;

/// Record batches, and an end for them.
pub(super) fn recover(mut file: File, output: &mut Output) -> Recovered {
    const BEGIN_BYTES: u64 = 64;
    let cannot = |error: arrow_schema::ArrowError| Stop::Damage(error.to_string());
    let mut records = 0;
    let mut copy = || {
        file.seek(SeekFrom::Start(BEGIN_BYTES)).map_err(|error| damage(&error))?;
        let reader = StreamReader::try_new(BufReader::new(&file), None).map_err(cannot)?;
        let mut writer = FileWriter::try_new(Vec::new(), &reader.schema()).map_err(cannot)?;
        let mut stop = Ok(());
        for batch in reader {
            match batch {
                Ok(batch) => {
                    writer.write(&batch).map_err(cannot)?;
                    records += batch.num_rows() as u64;
                }
                Err(error) => {
                    stop = Err(cannot(error));
                    break;
                }
            }
            output.take(writer.get_ref());
            writer.get_mut().clear();
            output.write_some()?;
        }
        writer.finish().map_err(cannot)?;
        output.take(writer.get_ref());
        stop
    };
    let stop = copy();
    (records, stop)
}
