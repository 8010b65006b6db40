//! Classic BPF in user space: a program is checked once, and then runs on any frame without
//! panicking, without end and without reading outside of the frame.
//!
//! It says of each frame what libpcap's own interpreter says. A load from outside of the captured
//! bytes rejects the frame, as does a division by 0. Where the kernel knows more of a packet than
//! what is in its frame (`SKF_AD_OFF`), this does not. Source, with the meaning of each
//! instruction: <https://github.com/the-tcpdump-group/libpcap/blob/libpcap-1.10.5/bpf_filter.c>.

pub(super) mod code;
#[cfg(test)]
mod tests;

use std::hint::cold_path;

use self::code::*;
use crate::limits::{FILTER_INSTRUCTIONS, FILTER_TURNS};

/// Words of scratch memory (`BPF_MEMWORDS`).
const SCRATCH_WORDS: usize = 16;

const _: () = assert!(SCRATCH_WORDS.is_power_of_two(), "an index into scratch memory is masked");

/// One instruction, as libpcap and the kernel have it in memory (`struct bpf_insn`, `struct
/// sock_filter`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// Instructions to skip if a test holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// A checked program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(Box<[Instruction]>);

impl Program {
    /// Checks a program: every opcode is known; every jump lands inside, and forward but for
    /// `ja`, by which libpcap goes round in `ip6 protochain`; scratch memory is used within its
    /// bounds; nothing is divided by a constant 0; the last instruction returns.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(instructions: Vec<Instruction>) -> Result<Self, String> {
        let len = instructions.len();
        if len > FILTER_INSTRUCTIONS {
            return Err(format!("{len} instructions; at most {FILTER_INSTRUCTIONS}"));
        }
        match instructions.last() {
            Some(last) if matches!(last.code, RET_K | RET_A) => {}
            Some(_) => return Err("its last instruction does not return".to_owned()),
            None => return Err("it is empty".to_owned()),
        }
        for (at, instruction) in instructions.iter().enumerate() {
            check(instruction, at, len)
                .map_err(|cause| format!("instruction {at}, {instruction:x?}: {cause}"))?;
        }
        Ok(Self(instructions.into()))
    }

    /// Its instructions.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// Whether it accepts a frame of which these bytes were captured, and which was so long on
    /// the wire.
    #[inline]
    #[must_use]
    pub fn accepts(&self, captured: &[u8], wire_len: u32) -> bool {
        self.run(captured, wire_len).is_some_and(|snap_len| snap_len != 0)
    }

    /// What it returns; `None` where it would read outside of the frame or divide by 0, or goes
    /// round for too long.
    fn run(&self, frame: &[u8], wire_len: u32) -> Option<u32> {
        let (mut a, mut x) = (0_u32, 0_u32);
        let mut scratch = [0_u32; SCRATCH_WORDS];
        let mut turns = 0;
        let mut at = 0;
        loop {
            // A checked program does not leave itself; if it did, it would reject.
            let &Instruction { code, jt, jf, k } = self.0.get(at)?;
            at += 1;
            // Masked rather than tested: a checked index is below the mask.
            let word = k as usize % SCRATCH_WORDS;
            match code {
                LD_W_ABS => a = u32::from_be_bytes(load(frame, 0, k)?),
                LD_H_ABS => a = u16::from_be_bytes(load(frame, 0, k)?).into(),
                LD_B_ABS => a = u8::from_be_bytes(load(frame, 0, k)?).into(),
                LD_W_IND => a = u32::from_be_bytes(load(frame, x, k)?),
                LD_H_IND => a = u16::from_be_bytes(load(frame, x, k)?).into(),
                LD_B_IND => a = u8::from_be_bytes(load(frame, x, k)?).into(),
                LD_W_LEN => a = wire_len,
                LD_IMM => a = k,
                LD_MEM => a = scratch[word],
                // The length of an IPv4 header, from its first byte.
                LDX_MSH => x = u32::from(u8::from_be_bytes(load(frame, 0, k)?) & 0x0f) * 4,
                LDX_W_LEN => x = wire_len,
                LDX_IMM => x = k,
                LDX_MEM => x = scratch[word],
                ST => scratch[word] = a,
                STX => scratch[word] = x,
                JEQ_K => at += way(a == k, jt, jf),
                JGT_K => at += way(a > k, jt, jf),
                JGE_K => at += way(a >= k, jt, jf),
                JSET_K => at += way(a & k != 0, jt, jf),
                JEQ_X => at += way(a == x, jt, jf),
                JGT_X => at += way(a > x, jt, jf),
                JGE_X => at += way(a >= x, jt, jf),
                JSET_X => at += way(a & x != 0, jt, jf),
                JA => {
                    let offset = k.cast_signed();
                    turns += usize::from(offset < 0);
                    if turns > FILTER_TURNS {
                        return None;
                    }
                    at = at.wrapping_add_signed(offset as isize);
                }
                TAX => x = a,
                TXA => a = x,
                RET_K => return Some(k),
                RET_A => return Some(a),
                _ => a = calculate(code, a, if code & X == 0 { k } else { x })?,
            }
        }
    }
}

/// `N` bytes of the frame at `base + offset`, if they were captured.
#[inline]
fn load<const N: usize>(frame: &[u8], base: u32, offset: u32) -> Option<[u8; N]> {
    let at = (base as usize).checked_add(offset as usize)?;
    frame.get(at..)?.first_chunk().copied()
}

/// How many instructions a test skips.
#[inline]
fn way(holds: bool, jt: u8, jf: u8) -> usize {
    if holds {
        // Neither way is colder; but told so the compiler makes a branch of it, which is foreseen,
        // rather than wait for the frame to know the next instruction: that takes twice as long.
        cold_path();
        usize::from(jt)
    } else {
        usize::from(jf)
    }
}

/// Arithmetic, as unsigned numbers of 32 bits.
#[inline]
fn calculate(code: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match code & !X {
        ADD => a.wrapping_add(operand),
        SUB => a.wrapping_sub(operand),
        MUL => a.wrapping_mul(operand),
        DIV => a.checked_div(operand)?,
        MOD => a.checked_rem(operand)?,
        AND => a & operand,
        OR => a | operand,
        XOR => a ^ operand,
        LSH => a.checked_shl(operand).unwrap_or(0),
        RSH => a.checked_shr(operand).unwrap_or(0),
        NEG => a.wrapping_neg(),
        _ => return None,
    })
}

/// Checks the instruction at a place of a program with so many.
fn check(instruction: &Instruction, at: usize, len: usize) -> Result<(), &'static str> {
    let &Instruction { code, jt, jf, k } = instruction;
    match code {
        LD_W_ABS | LD_H_ABS | LD_B_ABS | LD_W_IND | LD_H_IND | LD_B_IND | LD_W_LEN | LD_IMM
        | LDX_MSH | LDX_W_LEN | LDX_IMM | RET_K | RET_A | TAX | TXA | NEG => Ok(()),
        LD_MEM | LDX_MEM | ST | STX => match k as usize {
            0..SCRATCH_WORDS => Ok(()),
            _ => Err("outside of the scratch memory"),
        },
        JEQ_K | JGT_K | JGE_K | JSET_K | JEQ_X | JGT_X | JGE_X | JSET_X => {
            let furthest = at + 1 + usize::from(jt.max(jf));
            if furthest < len { Ok(()) } else { Err("jumps behind the end") }
        }
        JA => match (at + 1).checked_add_signed(k.cast_signed() as isize) {
            Some(target) if target == at => Err("jumps to itself"),
            Some(target) if target < len => Ok(()),
            _ => Err("jumps out of the program"),
        },
        _ if code & CLASS != ALU => Err("unknown opcode"),
        _ => match code & !X {
            ADD | SUB | MUL | AND | OR | XOR => Ok(()),
            DIV | MOD if code & X == 0 && k == 0 => Err("divides by 0"),
            LSH | RSH if code & X == 0 && k >= u32::BITS => Err("shifts by more than 31 bits"),
            DIV | MOD | LSH | RSH => Ok(()),
            _ => Err("unknown opcode"),
        },
    }
}
