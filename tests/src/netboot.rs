//! A boot server: TFTP (RFC 1350) and HTTP, just enough for a boot ROM, with a record of what was asked for.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

const READ_REQUEST: u16 = 1;
const DATA: u16 = 3;
const ERROR: u16 = 5;
/// A file of less than a block is one block (RFC 1350 §6); no script of ours is longer.
const BLOCK: usize = 512;

/// A running server. It ends with the world.
#[derive(Debug)]
pub struct BootServer {
    requests: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Files {
    all: Arc<Vec<(String, String)>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl BootServer {
    /// Serves `files`, name and content, on both protocols at `address`.
    ///
    /// # Errors
    /// When a port cannot be had.
    pub fn start(
        namespace: &Namespace,
        address: Ipv4Addr,
        files: &[(&str, String)],
    ) -> Result<Self> {
        let (tftp, http) = namespace.inside(|| {
            let tftp = UdpSocket::bind((address, 69)).context("TFTP port")?;
            Ok((tftp, TcpListener::bind((address, 80)).context("HTTP port")?))
        })?;
        let all = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.clone()))
            .collect();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let files = Files {
            all: Arc::new(all),
            requests: Arc::clone(&requests),
        };
        thread::spawn({
            let files = files.clone();
            move || files.serve_tftp(&tftp)
        });
        thread::spawn(move || {
            for stream in http.incoming().flatten() {
                // A client that hangs up has had what it wanted.
                let _ = files.serve_http(stream);
            }
        });
        Ok(Self { requests })
    }

    /// What has been asked for so far, as `tftp NAME` or `http NAME`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Files {
    fn find(&self, protocol: &str, name: &str) -> Option<&str> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(format!("{protocol} {name}"));
        let file = self
            .all
            .iter()
            .find(|(had, _)| had == name.trim_start_matches('/'));
        file.map(|(_, text)| text.as_str())
    }

    fn serve_tftp(&self, socket: &UdpSocket) {
        let mut room = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut room) {
            let packet = room.get(..length).unwrap_or_default();
            let Some((code, rest)) = packet.split_first_chunk::<2>() else {
                continue;
            };
            if u16::from_be_bytes(*code) != READ_REQUEST {
                continue;
            }
            let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
            let answer = match self.find("tftp", &String::from_utf8_lossy(name)) {
                Some(text) if text.len() < BLOCK => {
                    [&DATA.to_be_bytes()[..], &[0, 1], text.as_bytes()].concat()
                }
                _ => [&ERROR.to_be_bytes()[..], &[0, 1, 0]].concat(),
            };
            // What is lost is asked for again.
            let _ = socket.send_to(&answer, from);
        }
    }

    fn serve_http(&self, mut stream: TcpStream) -> Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().context("a request")??;
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let name = request.split_whitespace().nth(1).unwrap_or_default();
        let (status, body) = match self.find("http", name) {
            Some(text) => ("200 OK", text),
            None => ("404 Not Found", ""),
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.0 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        Ok(())
    }
}
