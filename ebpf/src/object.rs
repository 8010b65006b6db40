//! What each object must have beside its program.

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Nothing here can panic, and the verifier would refuse a program that gets here.
    loop {}
}

/// The licence the kernel asks for before it lends GPL-only helpers; these programs' own licence
/// allows their use under those terms.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
