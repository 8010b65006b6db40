//! The program as the kernel runs it, on frames made by hand (BPF_PROG_TEST_RUN).

mod filters;
mod frames;
mod in_kernel;
mod live;
mod samples;
mod shunt;
mod stamps;

use aya::programs::{TestRun, TestRunOptions};
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::xdp::is_root;
use crate::xdp::socket::{Choice, Layout, Socket, ZeroCopy};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

fn xdp(object: &Ebpf) -> std::result::Result<&Xdp, ProgramError> {
    object.program("flowtap").ok_or(ProgramError::NotLoaded)?.try_into()
}

/// Runs a test in a network of its own, where nobody else has sockets; not without root.
fn as_root(test: &str, run: impl FnOnce() + Send) {
    if !is_root(test) {
        return;
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            run();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// With VXLAN's own port, and one that was given for it.
fn constants(timestamps: Timestamps) -> Constants {
    Constants { timestamps, tunnel_ports: [4_789, 4_789, 4_789, 4_789, 4_789, 8_472, 0, 0] }
}

/// A loaded program, and the socket of the queue that test frames come from, if wanted.
struct Bench {
    program: Program,
    socket: Option<Socket>,
}

impl Bench {
    fn new() -> Self {
        Self::with_frames(64)
    }

    /// With so many in the socket's memory.
    fn with_frames(frames: u32) -> Self {
        Self::with(frames, Timestamps::Batch)
    }

    fn with(frames: u32, timestamps: Timestamps) -> Self {
        let interface = Interface::find("lo").unwrap();
        let program = Program::load(interface, constants(timestamps)).unwrap();
        Self { program, socket: None }.bound_to(frames, timestamps)
    }

    /// With a shunt, and its maps.
    fn with_shunt(timestamps: Timestamps) -> (Self, ShuntMaps) {
        let interface = Interface::find("lo").unwrap();
        let (program, mut maps) =
            Program::load_with_shunt(interface, constants(timestamps), 2).unwrap();
        (Self { program, socket: None }.bound_to(64, timestamps), maps.pop().unwrap())
    }

    /// Gives it a socket with room for so many frames.
    fn bound_to(mut self, frames: u32, timestamps: Timestamps) -> Self {
        let interface = Interface::find("lo").unwrap();
        let layout = Layout { frames, frame_bytes: 2048, rx_entries: frames };
        let (is_native, may_take_several) = (false, false);
        let (zero_copy, when_busy) = (ZeroCopy::Auto, WhenBusy::Wait);
        let choice = Choice { is_native, zero_copy, may_take_several, timestamps, when_busy };
        let socket = Socket::open(&interface, 0, layout, choice).unwrap();
        self.program.insert(0, socket.as_fd()).unwrap();
        self.socket = Some(socket);
        self
    }

    fn without_socket() -> Self {
        let interface = Interface::find("lo").unwrap();
        let program = Program::load(interface, constants(Timestamps::Packet)).unwrap();
        Self { program, socket: None }
    }

    /// What the program says of a frame, so many times over. (More than once takes the kernel
    /// a good while to prepare.)
    fn run(&self, frame: &[u8], repeat: u32) -> u32 {
        let options = TestRunOptions { data_in: Some(frame), repeat, ..Default::default() };
        xdp(&self.program.object).unwrap().test_run(options).unwrap().return_value
    }

    /// What it counted.
    fn verdicts(&self) -> Verdicts {
        let verdicts = self.program.verdicts().unwrap();
        let Verdicts {
            seen_packets,
            passed_packets,
            redirected_packets,
            aborted_packets,
            filtered_packets,
            sampled_out_packets,
            shunted_packets,
        } = verdicts;
        let sum = passed_packets
            + redirected_packets
            + aborted_packets
            + filtered_packets
            + sampled_out_packets
            + shunted_packets;
        assert_eq!(seen_packets, sum, "{verdicts:?}");
        verdicts
    }
}

#[test]
fn without_a_socket_everything_passes() {
    as_root("without_a_socket_everything_passes", || {
        let mut bench = Bench::without_socket();
        assert_eq!(bench.verdicts(), Verdicts::default());
        assert_eq!(bench.run(&[0; 60], 7), XDP_PASS);
        // Nor does it count what is asked of our packets: these are the host's.
        let nothing =
            KernelFilter { action: super::super::filter::Action::Reject, ..Default::default() };
        bench.program.set_filter(Some(&nothing)).unwrap();
        bench.program.set_sampling("1000:packet".parse().unwrap()).unwrap();
        assert_eq!(bench.run(&[0; 60], 3), XDP_PASS);
        let want = Verdicts { seen_packets: 10, passed_packets: 10, ..Verdicts::default() };
        assert_eq!(bench.verdicts(), want);
    });
}

#[test]
fn with_a_socket_everything_goes_there() {
    as_root("with_a_socket_everything_goes_there", || {
        let bench = Bench::new();
        // The last takes several buffers.
        for len in [14, 60, 1514, 9014] {
            assert_eq!(bench.run(&vec![0xa5; len], 1), XDP_REDIRECT, "{len} bytes");
        }
        let want = Verdicts { seen_packets: 4, redirected_packets: 4, ..Verdicts::default() };
        assert_eq!(bench.verdicts(), want);
    });
}

#[test]
fn an_object_that_is_refused_is_one_line() {
    let interface = Interface::find("lo").unwrap();
    let refusal = io::Error::from_raw_os_error(libc::EPERM);
    let cause = MapError::CreateError { name: "XSKS".into(), io_error: refusal };
    let error = failed("load".into(), &interface, &cause.into()).to_string();
    assert!(error.starts_with("load: operation not permitted; "), "{error}");
}
