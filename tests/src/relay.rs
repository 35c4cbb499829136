//! A TCP relay whose connections a test can cut, or whose answers it can hold back: a network between two programs.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// The relay; it ends with the world.
#[derive(Debug, Clone)]
pub struct Relay {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<Vec<TcpStream>>,
    holding: AtomicBool,
    held: AtomicU64,
    refusing: AtomicBool,
}

impl Relay {
    /// Listens at `from` in the namespace and passes everything on to `to`.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn new(namespace: &Namespace, from: &str, to: &str) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let relay = Self {
            shared: Arc::clone(&shared),
        };
        let to = to.to_owned();
        namespace.inside(move || {
            let listener = TcpListener::bind(from).with_context(|| format!("listen at {from}"))?;
            // Started in the namespace: the thread's sockets belong there.
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    if shared.refusing.load(Ordering::SeqCst) {
                        continue;
                    }
                    // A refused connection is cut, as a network without the host would.
                    let _ = pass(&shared, client, &to);
                }
            });
            Ok(())
        })?;
        Ok(relay)
    }

    /// Cuts all connections that stand.
    pub fn cut(&self) {
        let mut open = self.lock();
        for stream in open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on what the server answers is taken and not passed on, until the connections are cut and this is
    /// called with `false`.
    pub fn hold_answers(&self, hold: bool) {
        self.shared.holding.store(hold, Ordering::SeqCst);
    }

    /// Bytes of answers that were held back.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// From now on connections are closed as soon as they are made, or not any more.
    pub fn refuse(&self, refuse: bool) {
        self.shared.refusing.store(refuse, Ordering::SeqCst);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn pass(shared: &Arc<Shared>, client: TcpStream, to: &str) -> Result<()> {
    let server = TcpStream::connect(to)?;
    let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
    open.push(client.try_clone()?);
    open.push(server.try_clone()?);
    drop(open);
    let (up, down) = ((client.try_clone()?, server.try_clone()?), (server, client));
    let shared = Arc::clone(shared);
    thread::spawn(move || copy(up.0, up.1, |_| true));
    thread::spawn(move || {
        copy(down.0, down.1, |length| {
            let hold = shared.holding.load(Ordering::SeqCst);
            if hold {
                shared.held.fetch_add(length as u64, Ordering::SeqCst);
            }
            !hold
        });
    });
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(usize) -> bool) {
    let mut room = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut room) {
        let bytes = room.get(..length).unwrap_or_default();
        if passes(length) && to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
