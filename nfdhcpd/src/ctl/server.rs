//! The daemon's end of the control socket.

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::report::TraceLine;
use super::{Question, Request};
use crate::trace::Traced;

/// Longest question.
const QUESTION_MAX: u64 = 4096;

/// Answers for as long as the daemon runs.
pub async fn serve(listener: UnixListener, questions: mpsc::Sender<Question>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, questions.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "accept on the control socket");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    error: &'a str,
}

fn failure(error: &str) -> String {
    serde_json::to_string(&Failure { error }).unwrap_or_default()
}

async fn converse(mut stream: UnixStream, questions: mpsc::Sender<Question>) {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(QUESTION_MAX));
    if reader.read_line(&mut line).await.is_err() {
        return;
    }
    let answer = match serde_json::from_str(&line) {
        Ok(Request::Trace { tap }) => {
            let (reply, watched) = oneshot::channel();
            let _ = questions.send(Question::Watch { tap, reply }).await;
            match watched.await {
                Ok(Some((tap, packets))) => {
                    let mut end = [0; 1];
                    let mut reader = reader.into_inner();
                    tokio::select! {
                        () = trace(tap, packets, &mut write) => {}
                        _ = reader.read(&mut end) => {}
                    }
                    return;
                }
                _ => failure("no such TAP is served"),
            }
        }
        Ok(request) => {
            let (reply, answer) = oneshot::channel();
            let _ = questions.send(Question::Ask { request, reply }).await;
            answer
                .await
                .unwrap_or_else(|_| failure("the daemon is stopping"))
        }
        Err(error) => failure(&format!("not a question: {error}")),
    };
    let _ = write.write_all(answer.as_bytes()).await;
    let _ = write.write_all(b"\n").await;
}

async fn trace(
    tap: u32,
    mut packets: broadcast::Receiver<Traced>,
    out: &mut (impl AsyncWriteExt + Unpin),
) {
    loop {
        let mut line = match packets.recv().await {
            Ok(traced) if traced.tap == tap => {
                serde_json::to_string(&TraceLine::from(traced)).unwrap_or_default()
            }
            Ok(_) => continue,
            Err(RecvError::Lagged(missed)) => format!("{{\"missed\":{missed}}}"),
            Err(RecvError::Closed) => return,
        };
        line.push('\n');
        if out.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}
