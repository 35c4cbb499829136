//! What a long piece of work is doing: finished steps as lines, the present one in place when there is a terminal.

use std::io::{IsTerminal, Write, stdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The display. Dropping it clears the present step.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    shared: Arc<Mutex<State>>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    now: Option<String>,
    over: bool,
}

impl Progress {
    /// Begins; the clock runs from here.
    #[must_use]
    pub fn new() -> Self {
        let start = Instant::now();
        let shared = Arc::new(Mutex::new(State::default()));
        let ticker = stdout().is_terminal().then(|| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || tick(start, &shared))
        });
        Self {
            start,
            shared,
            ticker,
        }
    }

    /// Says what is being done.
    pub fn now(&self, step: &str) {
        lock(&self.shared).now = Some(step.to_owned());
    }

    /// Says what has been done.
    pub fn done(&self, step: &str) {
        let mut state = lock(&self.shared);
        state.now = None;
        self.clear();
        let seconds = self.start.elapsed().as_secs_f32();
        say(&format!("  [{seconds:5.1} s] {step}\n"));
    }

    fn clear(&self) {
        if self.ticker.is_some() {
            say("\r\x1b[K");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        lock(&self.shared).over = true;
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
            say("\r\x1b[K");
        }
    }
}

fn tick(start: Instant, shared: &Mutex<State>) {
    for sign in ['|', '/', '-', '\\'].into_iter().cycle() {
        let state = lock(shared);
        if state.over {
            return;
        }
        if let Some(now) = &state.now {
            let seconds = start.elapsed().as_secs_f32();
            say(&format!("\r\x1b[K  [{seconds:5.1} s] {sign} {now}"));
        }
        drop(state);
        thread::sleep(Duration::from_millis(100));
    }
}

fn lock(mutex: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A display that cannot be written to is no reason to stop.
fn say(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
