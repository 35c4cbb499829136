//! A node with a clock of its own, by libfaketime: Ganeti's daemons, eventd, and whatever enters the place. Hooks and
//! scripts, which Ganeti starts with an environment of their own, keep the machine's clock.
//!
//! Debian's libfaketime 0.9.10 cannot do without its semaphore, which only the user that made it may open, while Ganeti's
//! daemons change their user: here one is made for all users of the place.

use anyhow::{Result, ensure};

use super::Place;
use super::service::DROP_INS;

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// What the place's shells take over; [`super::place`] reads it.
const CLOCK: &str = "/etc/snf-lab-clock";

/// Makes the semaphore and the memory beside it; `$0` is the library.
const SHARED: &str = "\
rm -f /dev/shm/*faketime_*
LD_PRELOAD=$0 FAKETIME=+0 sh -c 'for part in sem.faketime_sem faketime_shm; do
  env -u LD_PRELOAD -u FAKETIME_SHARED cp /dev/shm/${part}_$$ /dev/shm/${part}_lab; done'
chmod 666 /dev/shm/sem.faketime_sem_lab /dev/shm/faketime_shm_lab";

impl Place {
    /// Sets a node's clock `ahead` minutes ahead of the machine's, and starts its daemons again.
    ///
    /// The cluster's certificates are as young as the cluster: a clock that is behind would come before them.
    ///
    /// # Errors
    /// When libfaketime is not there, or a daemon does not start.
    pub fn set_clock(&self, ahead: u32) -> Result<()> {
        ensure!(
            std::path::Path::new(LIBRARY).exists(),
            "needs {LIBRARY} (package faketime)"
        );
        self.run("sh", &["-ec", SHARED, LIBRARY])?;
        let variables = [
            ("LD_PRELOAD", LIBRARY.to_owned()),
            ("FAKETIME", format!("+{ahead}m")),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            (
                "FAKETIME_SHARED",
                "/faketime_sem_lab /faketime_shm_lab".to_owned(),
            ),
        ];
        let lines = |start: &str, quote: &str| -> String {
            let line = |(name, value): &(&str, String)| match quote {
                "'" => format!("{start}{name}='{value}'\n"),
                quote => format!("{start}{quote}{name}={value}{quote}\n"),
            };
            variables.iter().map(line).collect()
        };
        self.run("/usr/lib/ganeti/daemon-util", &["stop-all"])?;
        self.stop_service("snf-ganeti-eventd")?;
        self.write(
            &format!("{DROP_INS}/snf-ganeti-eventd.service.d/clock.conf"),
            &format!("[Service]\n{}", lines("Environment=", "\"")),
        )?;
        self.write(CLOCK, &lines("export ", "'"))?;
        self.run("/usr/lib/ganeti/daemon-util", &["start-all"])?;
        self.start_service("snf-ganeti-eventd")
    }
}
