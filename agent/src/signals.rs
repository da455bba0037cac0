//! What the operator's signals mean.

use crate::config::Leave;
use crate::drive::Command;
use quorate_protocol::{Ask, Cluster, LocalRequest, Reply, Request};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Turns SIGINT and SIGTERM into a leave or a stop; a second one stops at once.
pub async fn listen(leave: Leave, queue: mpsc::Sender<Command>) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("signals cannot be listened to; `quorate leave` stops the agent");
        return;
    };
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => ("SIGINT", leave.on_interrupt),
            _ = terminate.recv() => ("SIGTERM", leave.on_terminate),
        }
    };
    let (name, leaves) = next().await;
    if leaves {
        tracing::info!(signal = name, "leaving the cluster; again to stop at once");
        let _ = queue.send(Command::Leave).await;
        let (name, _) = next().await;
        tracing::warn!(signal = name, "stopping before the leave is done");
    } else {
        tracing::info!(signal = name, "stopping");
    }
    let _ = queue.send(Command::Stop).await;
    let (name, _) = next().await;
    tracing::warn!(signal = name, "ending without closing");
    std::process::exit(1);
}

/// Reads the configuration again on each SIGHUP.
pub async fn reload(front: impl Cluster) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be listened to; `quorate reload` reads the configuration again");
        return;
    };
    while hangup.recv().await.is_some() {
        match front.ask(Request::here(Ask::Local(LocalRequest::Reload { definitions: None }))).await {
            Reply::Refused(why) => {
                tracing::error!(%why, "the configuration was not read again; the agent goes on with the old one")
            }
            _ => tracing::info!(signal = "SIGHUP", "the configuration was read again"),
        }
    }
}
