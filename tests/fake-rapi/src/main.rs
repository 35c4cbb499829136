//! `fake-rapi serve`: a fake cluster to point programs at; `fake-rapi conform`: holds any cluster to the transcript.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use fake_rapi::client::Client;
use fake_rapi::conformance::{self, Names};
use fake_rapi::{FakeRapi, Options};

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serves until it is ended; prints the certificate's fingerprint.
    Serve {
        /// Where.
        #[arg(long, default_value = "127.0.0.1:5080")]
        listen: SocketAddr,
        /// The cluster's name.
        #[arg(long, default_value = "cluster.gnt.test")]
        cluster: String,
        /// Who may write.
        #[arg(long, default_value = "synnefo")]
        user: String,
        /// With which password.
        #[arg(long, default_value = "secret")]
        password: String,
        /// How long a job stays in each state, milliseconds.
        #[arg(long, default_value_t = 100)]
        pace: u64,
        /// Ganeti's data directory, to write job files in.
        #[arg(long)]
        ganeti: Option<PathBuf>,
    },
    /// Asks a cluster what the transcript asks, and tells where its answers differ. Makes an instance and a network.
    Conform {
        /// Where its remote API is.
        #[arg(long)]
        address: SocketAddr,
        /// As whom.
        #[arg(long, default_value = "synnefo")]
        user: String,
        /// With which password.
        #[arg(long, default_value = "secret")]
        password: String,
        /// What the names of what is made begin with.
        #[arg(long, default_value = "conf-")]
        prefix: String,
        /// Node that instances are put on.
        #[arg(long, default_value = "node1.gnt.test")]
        node: String,
        /// Node group.
        #[arg(long, default_value = "default")]
        group: String,
        /// Hypervisor.
        #[arg(long, default_value = "fake")]
        hypervisor: String,
        /// OS.
        #[arg(long, default_value = "noop+default")]
        os: String,
        /// Bridge.
        #[arg(long, default_value = "br0")]
        bridge: String,
    },
}

#[expect(clippy::print_stdout, reason = "it is what was asked for")]
fn say(line: &str) {
    println!("{line}");
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().verb {
        Verb::Serve {
            listen,
            cluster,
            user,
            password,
            pace,
            ganeti,
        } => {
            let fake = FakeRapi::start(Options {
                listen,
                cluster,
                user,
                password,
                pace: Some(Duration::from_millis(pace)),
                ganeti,
                ..Options::default()
            });
            let fake = fake.await?;
            say(&format!("{} {}", fake.address, fake.fingerprint));
            std::future::pending::<Result<()>>().await
        }
        Verb::Conform {
            address,
            user,
            password,
            prefix,
            node,
            group,
            hypervisor,
            os,
            bridge,
        } => {
            let client = Client {
                address,
                user,
                password,
            };
            let names = Names {
                prefix,
                node,
                group,
                hypervisor,
                os,
                bridge,
            };
            let differences = conformance::run(&client, &names).await?;
            for difference in &differences {
                say(difference);
            }
            if !differences.is_empty() {
                bail!("{} answers differ", differences.len());
            }
            Ok(())
        }
    }
}
