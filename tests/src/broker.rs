//! RabbitMQ, in a namespace of the world: its own network, data directory, node name and HOME, and no service.
//!
//! The namespace's `/var/lib` is the broker's own; the world's pid namespace holds its processes, epmd included.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use snf_events::Prefix;
use snf_events::topology::{self, Declared};

use crate::namespace::Namespace;
use crate::program::Program;
use crate::wait;

pub mod client;

pub use client::Delivered;

/// What a test that needs the broker needs; for [`crate::world::in_world`].
pub const NEEDS: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// How long a broker may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

const DIRECTORY: &str = "/var/lib/broker";

const CONFIGURATION: &str = "\
listeners.tcp.1 = 127.0.0.1:5672
listeners.ssl.1 = 127.0.0.1:5671
ssl_options.cacertfile = /var/lib/broker/certificate.pem
ssl_options.certfile = /var/lib/broker/certificate.pem
ssl_options.keyfile = /var/lib/broker/key.pem
ssl_options.verify = verify_none
disk_free_limit.absolute = 1MB
raft.wal_max_size_bytes = 16777216
log.console.level = warning
";

/// A broker; dropping it ends it.
#[derive(Debug)]
pub struct Broker {
    namespace: Namespace,
    program: Option<Program>,
}

impl Broker {
    /// Starts one in `namespace`, at 127.0.0.1:5672, and waits until it listens.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let directory = namespace.path(DIRECTORY);
        fs::create_dir_all(&directory).context("make the broker's directory")?;
        fs::write(directory.join("rabbitmq.conf"), CONFIGURATION)?;
        fs::write(directory.join("plugins"), "[].")?;
        let own = rcgen::generate_simple_self_signed([String::from("localhost")])
            .context("make the broker's certificate")?;
        fs::write(directory.join("certificate.pem"), own.cert.pem())?;
        fs::write(directory.join("key.pem"), own.signing_key.serialize_pem())?;
        let mut broker = Self {
            namespace: namespace.clone(),
            program: None,
        };
        broker.again()?;
        Ok(broker)
    }

    /// Where its certificate is, which nobody else signed; for programs in the namespace.
    #[must_use]
    pub fn certificate(&self) -> String {
        format!("{DIRECTORY}/certificate.pem")
    }

    /// Declares our topology, as the controller does.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn declare(&self, prefix: &str) -> Result<()> {
        let prefix: Prefix = prefix.parse()?;
        self.connected(async |connection| {
            let declared = topology::declare(connection, &[prefix]).await?;
            anyhow::ensure!(
                declared == Declared::Wholly,
                "the broker lets guest declare"
            );
            Ok(())
        })
    }

    /// Starts it again, with what it had on disk.
    ///
    /// # Errors
    /// When it does not start.
    pub fn again(&mut self) -> Result<()> {
        let mut command = self.command("rabbitmq-server");
        command.process_group(0);
        let mut program = Program::start("broker", command)?;
        let ready = wait::until("the broker listens", START, || {
            anyhow::ensure!(program.is_running()?, "the broker ended");
            let connected = self
                .namespace
                .inside(|| Ok(std::net::TcpStream::connect("127.0.0.1:5672").is_ok()))?;
            Ok(connected)
        });
        ready.with_context(|| program.output().unwrap_or_default())?;
        self.program = Some(program);
        // It listens a moment before it lets clients in.
        let mut last = Ok(());
        let let_in = wait::until("the broker lets a client in", START, || {
            last = self.run(async |_| Ok(()));
            Ok(last.is_ok())
        });
        let_in.or(last)
    }

    /// Kills it, as a power cut would.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut program = self.program.take().context("the broker runs")?;
        // A script and the Erlang machine it starts: one process group.
        let group = Pid::from_raw(-program.pid().as_raw());
        kill(group, Signal::SIGKILL).context("kill the broker")?;
        program.wait(wait::SOON)?;
        Ok(())
    }

    /// Runs `rabbitmqctl`.
    ///
    /// # Errors
    /// When it fails; what it said is in the error.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command("rabbitmqctl");
        let output = command.arg("--quiet").args(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("rabbitmqctl {}: {text}{errors}", arguments.join(" "));
        }
        Ok(text)
    }

    /// Takes everything that is in `queue` now; nothing while there is no such queue, or it is only being made.
    ///
    /// # Errors
    /// When the broker fails.
    pub fn take(&self, queue: &str) -> Result<Vec<Delivered>> {
        self.run(async |channel| client::take(channel, queue).await)
    }

    /// Declares a queue of a test's own, without any of our properties.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn declare_plainly(&self, queue: &str) -> Result<()> {
        self.run(async |channel| {
            let options = QueueDeclareOptions::durable();
            channel
                .queue_declare(queue.into(), options, FieldTable::default())
                .await?;
            Ok(())
        })
    }

    /// Makes a queue of the test's own that gets what is published with `key`.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn listen(&self, queue: &str, key: &str) -> Result<()> {
        self.declare_plainly(queue)?;
        self.run(async |channel| {
            channel
                .queue_bind(
                    queue.into(),
                    snf_events::routing::EXCHANGE.into(),
                    key.into(),
                    lapin::options::QueueBindOptions::default(),
                    FieldTable::default(),
                )
                .await?;
            Ok(())
        })
    }

    /// Deletes a queue with all that is in it.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn delete(&self, queue: &str) -> Result<()> {
        self.run(async |channel| {
            channel
                .queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default())
                .await?;
            Ok(())
        })
    }

    /// Runs `action` on a channel of its own.
    ///
    /// # Errors
    /// When the broker cannot be reached, or what `action` returns.
    pub fn run<R: Send>(
        &self,
        action: impl AsyncFnOnce(&Channel) -> Result<R> + Send,
    ) -> Result<R> {
        self.connected(async |connection| {
            let channel = connection.create_channel().await?;
            action(&channel).await
        })
    }

    fn connected<R: Send>(
        &self,
        action: impl AsyncFnOnce(&Connection) -> Result<R> + Send,
    ) -> Result<R> {
        self.namespace
            .inside(|| client::connected("amqp://guest:guest@127.0.0.1:5672", action))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self
            .namespace
            .command(format!("/usr/lib/rabbitmq/bin/{program}"));
        let inside = |name: &str| format!("{DIRECTORY}/{name}");
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", DIRECTORY)
            .env("RABBITMQ_NODENAME", "rabbit@localhost")
            .env("RABBITMQ_MNESIA_BASE", inside("mnesia"))
            .env("RABBITMQ_LOG_BASE", inside("log"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_CONFIG_FILE", inside("rabbitmq"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", inside("plugins"))
            .env("RABBITMQ_PID_FILE", inside("pid"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            )
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("LANG", "C.UTF-8");
        command
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.program.is_some() {
            // The world's end would end it too.
            let _ = self.kill();
        }
    }
}
