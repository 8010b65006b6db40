//! What stands in for crossbeam-epoch under the model checker: the part of its interface that
//! we use, with loom's atomics below.
//!
//! The real collector can be run under loom, but one merge against one eviction takes more
//! than 760,000 orders with it at two preemptions, most of them inside the collector. So the
//! collector is trusted to keep its contract, and this is the harshest collector that keeps
//! it: what was retired is freed at once when the last guard goes that was pinned before.
//! Using it after that, freeing it twice and never freeing it fail the model; so does reading
//! a value that was not acquired from the thread that made it, or without a guard.

#![expect(unsafe_code, reason = "a reference that a guard keeps alive, as in crossbeam-epoch")]

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::rc::Rc;

use crate::sync::Ordering;
use crate::sync::model::atomic::AtomicUsize;
use crate::sync::model::fault::{self, Fault};

/// The bits of a pointer that a tag may use.
const TAG: usize = 0b11;

/// What a pointer leads to. The node itself stays to the end of the run.
struct Node<T> {
    value: RefCell<Option<T>>,
    /// Fails if it is looked at by a thread that has not acquired the making of the value.
    made: loom::cell::UnsafeCell<()>,
}

/// A node of any type.
trait AnyNode: Any {
    fn take(&self) -> Box<dyn Any>;
}

impl<T: 'static> AnyNode for Node<T> {
    fn take(&self) -> Box<dyn Any> {
        Box::new(self.value.take())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Live,
    /// To be freed when the guards that were pinned by then are gone.
    Retired {
        at: u64,
        guards: BTreeSet<u64>,
    },
    Freed {
        retired_at: u64,
    },
}

impl State {
    fn is_freed(&self) -> bool {
        matches!(self, Self::Freed { .. })
    }
}

/// All values and guards of one run. loom does not see this, so it orders nothing.
#[derive(Default)]
struct Books {
    nodes: BTreeMap<usize, (State, Rc<dyn AnyNode>)>,
    /// What was freed. It is dropped when the run ends, by a thread that has joined all others:
    /// the collector's fences, which no thread here has, make it safe to drop anywhere.
    freed: Vec<Box<dyn Any>>,
    pinned: BTreeSet<u64>,
    clock: u64,
}

impl Books {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn state(&mut self, pointer: usize) -> &mut State {
        &mut self.nodes.get_mut(&(pointer & !TAG)).expect("`Owned` made it").0
    }

    /// Frees what waits for no guard.
    fn free_due(&mut self) {
        for (state, node) in self.nodes.values_mut() {
            match state {
                State::Retired { at, guards } if guards.is_empty() => {
                    *state = State::Freed { retired_at: *at };
                    self.freed.push(node.take());
                }
                _ => {}
            }
        }
    }
}

// loom runs all threads of a model on the thread that explores it.
thread_local! {
    static BOOKS: RefCell<ManuallyDrop<Books>> = RefCell::default();
}

/// Begins a run of a model.
pub fn begin() {
    // What a failed run left belongs to that run of loom, and cannot be dropped any more.
    _ = BOOKS.take();
}

/// Ends a run of a model: everything must have been freed.
pub fn end() {
    loop {
        let freed = BOOKS.with_borrow_mut(|books| std::mem::take(&mut books.freed));
        if freed.is_empty() {
            break;
        }
        // With its drop it may free more.
        drop(freed);
    }
    let books = ManuallyDrop::into_inner(BOOKS.take());
    assert!(books.pinned.is_empty(), "a guard was forgotten");
    assert!(books.nodes.values().all(|(state, _)| state.is_freed()), "never freed");
}

/// Keeps what a thread reads from being freed.
#[derive(Debug)]
pub struct Guard {
    pinned_at: u64,
    of_this_thread: PhantomData<*const ()>,
}

/// Pins the thread.
#[must_use]
#[track_caller]
pub fn pin() -> Guard {
    let protects = !fault::is_broken(Fault::Guard);
    let pinned_at = BOOKS.with_borrow_mut(|books| {
        let now = books.tick();
        if protects {
            books.pinned.insert(now);
        }
        now
    });
    Guard { pinned_at, of_this_thread: PhantomData }
}

impl Guard {
    /// Frees what `retired` leads to when no guard is left that was pinned before now.
    ///
    /// # Safety
    /// As crossbeam-epoch's; here each breach fails the model.
    pub unsafe fn defer_destroy<T>(&self, retired: Shared<'_, T>) {
        BOOKS.with_borrow_mut(|books| {
            let (at, guards) = (books.tick(), books.pinned.clone());
            let state = books.state(retired.pointer);
            assert_eq!(*state, State::Live, "retired twice");
            *state = State::Retired { at, guards };
            books.free_due();
        });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The model has failed: a second failure would only hide the first.
            return;
        }
        BOOKS.with_borrow_mut(|books| {
            books.pinned.remove(&self.pinned_at);
            for (state, _) in books.nodes.values_mut() {
                if let State::Retired { guards, .. } = state {
                    guards.remove(&self.pinned_at);
                }
            }
            books.free_due();
        });
    }
}

/// What can be put into an [`Atomic`].
pub trait Pointer {
    /// The address and the tag.
    fn pointer(&self) -> usize;
}

/// A value that no other thread has yet.
#[derive(Debug)]
pub struct Owned<T: 'static> {
    pointer: usize,
    leads_to: PhantomData<T>,
}

impl<T: 'static> Owned<T> {
    /// Makes a value.
    #[must_use]
    pub fn new(value: T) -> Self {
        let made = loom::cell::UnsafeCell::new(());
        let node = Rc::new(Node { value: RefCell::new(Some(value)), made });
        let pointer = Rc::as_ptr(&node).addr();
        assert_eq!(pointer & TAG, 0, "a tag needs free pointer bits");
        BOOKS.with_borrow_mut(|books| books.nodes.insert(pointer, (State::Live, node)));
        Self { pointer, leads_to: PhantomData }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // As above.
            return;
        }
        BOOKS.with_borrow_mut(|books| {
            let state = books.state(self.pointer);
            assert_eq!(*state, State::Live, "freed, and retired too");
            *state = State::Retired { at: 0, guards: BTreeSet::new() };
            books.free_due();
        });
    }
}

impl<T> Pointer for Owned<T> {
    fn pointer(&self) -> usize {
        self.pointer
    }
}

/// A pointer that was loaded under a guard.
#[derive(Debug)]
pub struct Shared<'g, T: 'static> {
    pointer: usize,
    leads_to: PhantomData<(&'g Guard, *const T)>,
}

impl<T> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<'_, T> {}

impl<T> Pointer for Shared<'_, T> {
    fn pointer(&self) -> usize {
        self.pointer
    }
}

impl<'g, T> Shared<'g, T> {
    fn new(pointer: usize) -> Self {
        Self { pointer, leads_to: PhantomData }
    }

    /// A pointer to nothing.
    #[must_use]
    pub fn null() -> Self {
        Self::new(0)
    }

    /// Whether it leads to nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.pointer & !TAG == 0
    }

    /// The tag.
    #[must_use]
    #[track_caller]
    pub fn tag(&self) -> usize {
        if fault::is_broken(Fault::Tag) { 0 } else { self.pointer & TAG }
    }

    /// The same pointer with another tag.
    #[must_use]
    pub fn with_tag(&self, tag: usize) -> Self {
        Self::new(self.pointer & !TAG | tag)
    }

    /// What it leads to.
    ///
    /// # Safety
    /// As crossbeam-epoch's; here each breach fails the model.
    #[must_use]
    pub unsafe fn deref(&self) -> &'g T {
        let node: Rc<dyn Any> = BOOKS.with_borrow(|books| {
            let (state, node) = &books.nodes[&(self.pointer & !TAG)];
            assert!(!state.is_freed(), "used after it was freed");
            Rc::clone(node) as Rc<dyn Any>
        });
        let node: Rc<Node<T>> = node.downcast().expect("it is of the pointer's type");
        node.made.with(|_| ());
        // SAFETY: `as_ptr` gives a valid pointer. The value is moved out only when no guard is
        // left that was pinned before it was retired; the caller has one, alive for 'g, or has
        // been stopped by the assertion above. Nobody borrows the `RefCell` mutably before.
        let value = unsafe { &*node.value.as_ptr() };
        value.as_ref().expect("it was not freed")
    }
}

/// An atomic pointer with a tag.
#[derive(Debug)]
pub struct Atomic<T: 'static> {
    pointer: AtomicUsize,
    leads_to: PhantomData<T>,
}

impl<T> Default for Atomic<T> {
    fn default() -> Self {
        Self { pointer: AtomicUsize::new(0), leads_to: PhantomData }
    }
}

impl<T> Atomic<T> {
    /// A pointer to a new value.
    #[must_use]
    pub fn new(value: T) -> Self {
        let owned = ManuallyDrop::new(Owned::new(value));
        Self { pointer: AtomicUsize::new(owned.pointer), leads_to: PhantomData }
    }

    /// Loads the pointer: any that the memory model allows, but none that was retired before
    /// the guard was pinned; the collector's fences keep that promise.
    #[must_use]
    #[track_caller]
    pub fn load<'g>(&self, ordering: Ordering, guard: &'g Guard) -> Shared<'g, T> {
        let mut pointer = self.pointer.load(ordering);
        let is_past = pointer & !TAG != 0
            && BOOKS.with_borrow_mut(|books| match books.state(pointer) {
                State::Live => false,
                State::Retired { at, .. } | State::Freed { retired_at: at } => {
                    *at < guard.pinned_at
                }
            });
        if is_past {
            pointer = self.pointer.fetch_add(0, fault::ordering(ordering));
        }
        Shared::new(pointer)
    }

    /// Puts `new` in, and returns what was there.
    #[track_caller]
    pub fn swap<'g>(&self, new: impl Pointer, ordering: Ordering, _: &'g Guard) -> Shared<'g, T> {
        let new = ManuallyDrop::new(new);
        Shared::new(self.pointer.swap(new.pointer(), fault::ordering(ordering)))
    }

    /// Puts `new` in if `current` is there, and returns `new`.
    ///
    /// # Errors
    /// If something else is there.
    #[track_caller]
    #[expect(clippy::result_unit_err, reason = "nobody asks what was there instead")]
    pub fn compare_exchange<'g>(
        &self,
        current: Shared<'_, T>,
        new: impl Pointer,
        success: Ordering,
        failure: Ordering,
        _: &'g Guard,
    ) -> Result<Shared<'g, T>, ()> {
        // Its address must not have been given to another value meanwhile.
        let is_freed = BOOKS
            .with_borrow_mut(|books| !current.is_null() && books.state(current.pointer).is_freed());
        assert!(!is_freed, "compared after it was freed");
        let (success, failure) = (fault::ordering(success), fault::ordering(failure));
        match self.pointer.compare_exchange(current.pointer, new.pointer(), success, failure) {
            Ok(_) => Ok(Shared::new(ManuallyDrop::new(new).pointer())),
            Err(_) => Err(()),
        }
    }

    /// The value.
    ///
    /// # Safety
    /// As crossbeam-epoch's; here each breach fails the model.
    #[must_use]
    pub unsafe fn into_owned(self) -> Owned<T> {
        // It was handed over whole, by what loom may not see: so take the latest. After a
        // failure loom must not be asked, and nothing is freed.
        let is_over = std::thread::panicking();
        let pointer = if is_over { 0 } else { self.pointer.fetch_add(0, Ordering::Relaxed) };
        Owned { pointer: pointer & !TAG, leads_to: PhantomData }
    }
}
