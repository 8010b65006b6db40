//! Opcodes of classic BPF: class, size or operation, addressing mode or operand
//! (<https://github.com/the-tcpdump-group/libpcap/blob/libpcap-1.10.5/pcap/bpf.h>).
//! `A` is the accumulator, `X` the index register, `M` the scratch memory, `P` the frame.

/// The bits that say what kind of instruction it is.
pub(crate) const CLASS: u16 = 0x07;
/// The operand is X, and not the constant `k`.
pub(crate) const X: u16 = 0x08;

/// `A = P[k..k + 4]`, and likewise 2 bytes and 1.
pub(crate) const LD_W_ABS: u16 = 0x20;
pub(crate) const LD_H_ABS: u16 = 0x28;
pub(crate) const LD_B_ABS: u16 = 0x30;
/// `A = P[X + k..X + k + 4]`, and likewise 2 bytes and 1.
pub(crate) const LD_W_IND: u16 = 0x40;
pub(crate) const LD_H_IND: u16 = 0x48;
pub(crate) const LD_B_IND: u16 = 0x50;
/// `A =` the length on the wire.
pub(crate) const LD_W_LEN: u16 = 0x80;
/// `A = k`
pub(crate) const LD_IMM: u16 = 0x00;
/// `A = M[k]`
pub(crate) const LD_MEM: u16 = 0x60;

/// `X = 4 * (P[k] & 15)`
pub(crate) const LDX_MSH: u16 = 0xb1;
/// `X =` the length on the wire.
pub(crate) const LDX_W_LEN: u16 = 0x81;
/// `X = k`
pub(crate) const LDX_IMM: u16 = 0x01;
/// `X = M[k]`
pub(crate) const LDX_MEM: u16 = 0x61;

/// `M[k] = A`
pub(crate) const ST: u16 = 0x02;
/// `M[k] = X`
pub(crate) const STX: u16 = 0x03;

/// Arithmetic: `A = A op k`, or with [`X`] `A = A op X`.
pub(crate) const ALU: u16 = 0x04;
pub(crate) const ADD: u16 = ALU;
pub(crate) const SUB: u16 = 0x10 | ALU;
pub(crate) const MUL: u16 = 0x20 | ALU;
pub(crate) const DIV: u16 = 0x30 | ALU;
pub(crate) const OR: u16 = 0x40 | ALU;
pub(crate) const AND: u16 = 0x50 | ALU;
pub(crate) const LSH: u16 = 0x60 | ALU;
pub(crate) const RSH: u16 = 0x70 | ALU;
/// `A = -A`
pub(crate) const NEG: u16 = 0x80 | ALU;
pub(crate) const MOD: u16 = 0x90 | ALU;
pub(crate) const XOR: u16 = 0xa0 | ALU;

/// Skips `k` instructions, which as a signed number may be negative.
pub(crate) const JA: u16 = 0x05;
/// Skips `jt` instructions if `A == k`, else `jf`; and likewise greater, greater or equal, and
/// any of the bits.
pub(crate) const JEQ_K: u16 = 0x15;
pub(crate) const JGT_K: u16 = 0x25;
pub(crate) const JGE_K: u16 = 0x35;
pub(crate) const JSET_K: u16 = 0x45;
pub(crate) const JEQ_X: u16 = JEQ_K | X;
pub(crate) const JGT_X: u16 = JGT_K | X;
pub(crate) const JGE_X: u16 = JGE_K | X;
pub(crate) const JSET_X: u16 = JSET_K | X;

/// Returns `k`: 0 rejects the frame.
pub(crate) const RET_K: u16 = 0x06;
/// Returns `A`.
pub(crate) const RET_A: u16 = 0x16;
/// `X = A`
pub(crate) const TAX: u16 = 0x07;
/// `A = X`
pub(crate) const TXA: u16 = 0x87;
