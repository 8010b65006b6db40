//! Any classic BPF program over any frame: it is refused, or comes to an end.
//!
//! The first byte of an input says how many instructions of eight bytes follow; the rest is the
//! frame.

#![no_main]

use flowtap::filter::cbpf::{Instruction, Program};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else { return };
    let Some((program, frame)) = rest.split_at_checked(usize::from(count) * 8) else { return };
    let (instructions, _) = program.as_chunks();
    let instructions = instructions.iter().map(|&[a, b, jt, jf, c, d, e, f]| Instruction {
        code: u16::from_le_bytes([a, b]),
        jt,
        jf,
        k: u32::from_le_bytes([c, d, e, f]),
    });
    let Ok(program) = Program::verify(instructions.collect()) else { return };
    let wire_len = u32::try_from(frame.len()).expect("short");
    let whole = program.accepts(frame, wire_len);
    assert_eq!(program.accepts(frame, wire_len), whole, "it has no memory");
    let _ = program.accepts(&frame[..frame.len() / 2], wire_len);
});
