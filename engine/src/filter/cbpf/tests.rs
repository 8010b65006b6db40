//! Programs by hand: what each instruction does, and what is refused.

use proptest::prelude::*;

use super::*;

/// An instruction without a test.
fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// A test, with what it skips.
fn test(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// What a program returns of this frame, which is 1,000 bytes long on the wire.
fn run(program: &[Instruction]) -> Option<u32> {
    const FRAME: [u8; 8] = [0x45, 1, 2, 3, 0xff, 0xfe, 6, 7];
    Program::verify(program.to_vec()).unwrap().run(&FRAME, 1_000)
}

#[test]
fn loads_stay_within_the_captured_bytes() {
    let loads = |load: Instruction, x| run(&[plain(LDX_IMM, x), load, plain(RET_A, 0)]);
    for (load, x, want) in [
        (plain(LD_W_ABS, 0), 0, Some(0x4501_0203)),
        (plain(LD_W_ABS, 4), 0, Some(0xfffe_0607)),
        (plain(LD_W_ABS, 5), 0, None),
        (plain(LD_H_ABS, 6), 0, Some(0x0607)),
        (plain(LD_H_ABS, 7), 0, None),
        (plain(LD_B_ABS, 7), 0, Some(7)),
        (plain(LD_B_ABS, 8), 0, None),
        (plain(LD_B_ABS, u32::MAX), 0, None),
        // Where the kernel has a packet's type, and its VLAN tag.
        (plain(LD_H_ABS, 0xffff_f004), 0, None),
        (plain(LD_W_IND, 1), 3, Some(0xfffe_0607)),
        (plain(LD_H_IND, 4), 3, None),
        (plain(LD_B_IND, 4), 3, Some(7)),
        // No way back over the end of 32 bits.
        (plain(LD_B_IND, 4), u32::MAX - 3, None),
        (plain(LD_W_LEN, 0), 0, Some(1_000)),
        (plain(LD_IMM, 9), 0, Some(9)),
    ] {
        assert_eq!(loads(load, x), want, "{load:x?}, X = {x}");
    }
    let index = |load: Instruction| run(&[load, plain(TXA, 0), plain(RET_A, 0)]);
    assert_eq!(index(plain(LDX_MSH, 0)), Some(20));
    assert_eq!(index(plain(LDX_MSH, 8)), None);
    assert_eq!(index(plain(LDX_W_LEN, 0)), Some(1_000));
    let store = [plain(LD_IMM, 5), plain(ST, 15), plain(LDX_MEM, 15), plain(STX, 0)];
    assert_eq!(run(&[&store[..], &[plain(LD_MEM, 0), plain(RET_A, 0)]].concat()), Some(5));
}

#[test]
fn arithmetic_is_of_32_unsigned_bits() {
    for (code, a, operand, want) in [
        (ADD, u32::MAX, 2, Some(1)),
        (SUB, 1, 2, Some(u32::MAX)),
        (MUL, 0x1_0001, 0x1_0000, Some(0x1_0000)),
        (DIV, 7, 2, Some(3)),
        (DIV, 7, 0, None),
        (MOD, 7, 4, Some(3)),
        (MOD, 7, 0, None),
        (AND, 6, 3, Some(2)),
        (OR, 6, 3, Some(7)),
        (XOR, 6, 3, Some(5)),
        (LSH, 3, 31, Some(1 << 31)),
        (LSH, 3, 32, Some(0)),
        (RSH, 1 << 31, 31, Some(1)),
        (RSH, 1, 32, Some(0)),
    ] {
        let start = [plain(LDX_IMM, operand), plain(LD_IMM, a)];
        let by_index = [&start[..], &[plain(code | X, 0), plain(RET_A, 0)]].concat();
        assert_eq!(run(&by_index), want, "{code:x} {a} {operand}");
        let is_allowed = want.is_some() && !matches!((code, operand), (LSH | RSH, 32));
        let by_constant = [&start[..], &[plain(code, operand), plain(RET_A, 0)]].concat();
        match Program::verify(by_constant) {
            Ok(program) => assert_eq!(program.run(&[], 0), want, "{code:x} {a} {operand}"),
            Err(cause) => assert!(!is_allowed, "{cause}"),
        }
    }
    assert_eq!(run(&[plain(LD_IMM, 1), plain(NEG, 0), plain(RET_A, 0)]), Some(u32::MAX));
    assert_eq!(run(&[plain(LD_IMM, 7), plain(TAX, 0), plain(TXA, 0), plain(RET_A, 0)]), Some(7));
}

#[test]
fn tests_skip_what_they_say() {
    for (code, a, k, holds) in [
        (JEQ_K, 5, 5, true),
        (JEQ_K, 5, 6, false),
        (JGT_K, 5, 5, false),
        (JGT_K, u32::MAX, 1, true),
        (JGE_K, 5, 5, true),
        (JGE_K, 4, 5, false),
        (JSET_K, 6, 2, true),
        (JSET_K, 4, 2, false),
    ] {
        for code in [code, code | X] {
            let program =
                [plain(LDX_IMM, k), plain(LD_IMM, a), test(code, k, 1, 0), plain(RET_K, 10)];
            let want = if holds { 20 } else { 10 };
            let result = run(&[&program[..], &[plain(RET_K, 20)]].concat());
            assert_eq!(result, Some(want), "{code:x} {a} {k}");
        }
    }
    assert_eq!(run(&[plain(JA, 1), plain(RET_K, 10), plain(RET_K, 20)]), Some(20));
}

#[test]
fn a_program_that_goes_round_ends() {
    let back = u32::MAX - 2;
    // Counts X up to `most`, which takes so many turns.
    let count = |most| {
        let count = [plain(TXA, 0), test(JEQ_K, most, 3, 0), plain(ADD, 1)];
        run(&[&count[..], &[plain(TAX, 0), plain(JA, back - 2), plain(RET_K, 1)]].concat())
    };
    let most = u32::try_from(FILTER_TURNS).unwrap();
    assert_eq!(count(most), Some(1));
    assert_eq!(count(most + 1), None);
}

#[test]
fn a_program_that_could_misbehave_is_refused() {
    let end = plain(RET_K, 1);
    for (program, want) in [
        (vec![], "empty"),
        (vec![plain(LD_IMM, 1)], "does not return"),
        (vec![plain(LD_MEM, 16), end], "scratch"),
        (vec![plain(STX, 16), end], "scratch"),
        (vec![test(JEQ_K, 0, 1, 0), end], "behind the end"),
        (vec![test(JSET_X, 0, 0, 1), end], "behind the end"),
        (vec![plain(JA, 1), end], "out of the program"),
        (vec![plain(JA, u32::MAX - 1), end], "out of the program"),
        (vec![plain(JA, u32::MAX), end], "to itself"),
        (vec![plain(DIV, 0), end], "divides by 0"),
        (vec![plain(MOD, 0), end], "divides by 0"),
        (vec![plain(LSH, 32), end], "shifts"),
        (vec![plain(0xffff, 0), end], "unknown"),
        (vec![plain(0xb4, 0), end], "unknown"),
        (vec![end; FILTER_INSTRUCTIONS + 1], "at most"),
    ] {
        let cause = Program::verify(program).unwrap_err();
        assert!(cause.contains(want), "{cause}");
    }
}

proptest! {
    /// Whatever passes the check runs on whatever frame, and ends.
    #[test]
    fn what_is_checked_runs(
        program in prop::collection::vec((0_u16..0xb8, 0_u8..4, 0_u8..4, 0_u32..20), 0..12),
        frame in prop::collection::vec(any::<u8>(), 0..24),
    ) {
        let made = program.into_iter().map(|(code, jt, jf, k)| test(code, k, jt, jf));
        if let Ok(program) = Program::verify(made.chain([plain(RET_A, 0)]).collect()) {
            let _ = program.accepts(&frame, 100);
        }
    }

    /// The check takes any numbers.
    #[test]
    fn any_numbers_are_checked(
        program in prop::collection::vec((any::<u16>(), any::<u8>(), any::<u8>(), any::<u32>()), 0..9),
    ) {
        let made = program.into_iter().map(|(code, jt, jf, k)| test(code, k, jt, jf));
        if let Ok(program) = Program::verify(made.chain([plain(RET_A, 0)]).collect()) {
            let _ = program.accepts(&[1, 2, 3], 3);
        }
    }
}
