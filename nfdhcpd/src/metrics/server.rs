//! Serves the metrics: `GET /metrics`, nothing else.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::ctl::Question;

/// How long a scraper may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest request head.
const HEAD_MAX: usize = 8 << 10;

/// Answers scrapers, one at a time, for as long as the daemon runs.
pub async fn serve(listener: TcpListener, questions: mpsc::Sender<Question>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answered = answer(stream, &questions);
                if tokio::time::timeout(PATIENCE, answered).await.is_err() {
                    tracing::debug!("a scraper was too slow");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept a scraper");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, questions: &mpsc::Sender<Question>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_MAX {
        match stream.read_buf(&mut head).await {
            Ok(1..) => {}
            _ => return,
        }
    }
    let asks = |start: &[u8]| head.starts_with(start);
    let (status, body) = if asks(b"GET /metrics ") || asks(b"GET /metrics?") {
        let (reply, answer) = oneshot::channel();
        let asked = questions.send(Question::Metrics { reply }).await.is_ok();
        match answer.await {
            Ok(text) if asked => ("200 OK", text),
            _ => ("503 Service Unavailable", String::new()),
        }
    } else {
        ("404 Not Found", String::from("metrics are at /metrics\n"))
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // A scraper that is gone is nobody's loss.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
    let _ = stream.shutdown().await;
}
