//! Running an agent from its arguments to its end.

use crate::clock::{Clock, wall_clock_millis};
use crate::config::{self, Config, ConfigError, Loaded};
use crate::drive::{Command, Drive, End, Inbox, Outbox};
use crate::engine_thread::EngineThread;
use crate::front::Front;
use crate::listen;
use crate::log;
use crate::quic::{self, Transport};
use crate::reload::Reloader;
use crate::{disk, handlers, join, signals};
use anyhow::{Context, Result};
use quorate_engine::{Engine, Patience, SavedLocal, ServerConfig};
use quorate_gossip::Keyring;
use quorate_protocol::keyring::KeyringState;
use quorate_protocol::{Cluster, LogIndex, NodeId};
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

/// Requests from front doors that may wait for the engine; more are answered "busy".
const COMMAND_QUEUE: usize = 8192;
/// Datagrams and messages from other agents that may wait for the engine; more are dropped and counted.
const INBOUND_QUEUE: usize = 8192;
/// Results of probes that may wait; more make the probes wait.
const REPORT_QUEUE: usize = 1024;

/// The version that members and the API show.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs an agent; the arguments are those after the word `agent`.
pub fn agent(args: Vec<OsString>) -> ExitCode {
    let loaded = match config::load(args.clone()) {
        Ok(loaded) => loaded,
        Err(ConfigError::Show(text, code)) => return show(&text, code),
        Err(error) => return refuse(&anyhow::Error::new(error)),
    };
    match start(loaded, args) {
        Ok(End::Left | End::Stopped) => ExitCode::SUCCESS,
        Ok(End::Fatal(why) | End::Quarantined(why)) => refuse(&anyhow::Error::msg(why)),
        Err(error) => refuse(&error),
    }
}

fn show(text: &str, code: i32) -> ExitCode {
    // Whoever reads may have seen enough (`| head -1`).
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn refuse(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "==> quorate agent: {error:#}");
    ExitCode::FAILURE
}

fn start(loaded: Loaded, args: Vec<OsString>) -> Result<End> {
    let Loaded { config, warnings, .. } = loaded;
    log::start(config.log);
    allow_open_files();
    use_small_pages();
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let end = runtime.block_on(run(config, args));
    runtime.shutdown_timeout(Duration::from_secs(1));
    end
}

/// Takes as many open files as the system allows: the usual soft limit of 1024 is fewer than the connections that are served.
fn allow_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised; many clients at once may be refused");
    }
}

/// The allocator asks for pages of 2 MiB, of which most would stay empty here: 19 MB of heap instead of 4 in an idle server.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay in use; the agent takes some more memory");
    }
}

async fn run(config: Config, args: Vec<OsString>) -> Result<End> {
    let clock = Clock::start();
    let mut kept = Kept::open(&config)?;
    let (command_queue, commands) = mpsc::channel(COMMAND_QUEUE);
    let (inbound_queue, inbound) = mpsc::channel(INBOUND_QUEUE);
    let (reports_queue, reports) = mpsc::channel(REPORT_QUEUE);

    // Doors are opened before anything is announced, so that a taken port is a refusal to start and not a half-alive agent.
    let engine_thread = EngineThread::new().context("prepare the engine's thread")?;
    let quic = quic::Config {
        bind: config.gossip,
        advertise: config.advertise,
        id: kept.id,
        name: config.node_name.clone(),
        datacenter: config.datacenter.clone(),
        secrets: kept.keyring.keys().map(|key| key.bytes().to_vec()).collect(),
    };
    let transport = engine_thread.open(|| Transport::bind(quic, inbound_queue))?;
    let reloader = Reloader::new(args, config.clone());
    let front = Front::new(command_queue.clone(), config.advertise.port(), reloader);
    let doors = Doors::open(&config, Arc::new(front.clone())).await?;

    let engine = Engine::new(engine_config(&config, &mut kept), clock.now())?;
    let outbox = Outbox {
        transport,
        disk: kept.disk,
        data_dir: config.data_dir.clone(),
        reports: reports_queue,
        probes: Handle::current(),
    };
    let inbox = Inbox { commands, inbound, reports, persisted: kept.persisted, snapshots: kept.snapshots };
    let drive = engine_thread.start(Drive::new(engine, clock, outbox), inbox).context("start the engine's thread")?;

    // Whoever closed the output does not read it: no reason to stop.
    let _ = greet(&mut io::stdout(), &config, kept.id);
    let (stop, stopped) = watch::channel(false);
    let serving = doors.serve(stopped);
    tokio::spawn(signals::listen(config.leave, command_queue.clone()));
    tokio::spawn(signals::reload(front.clone()));
    tokio::spawn(handlers::follow(config.event_handlers.clone(), front.clone()));
    tokio::spawn(join::by_name(config.retry_join.clone(), config.retry_interval, front.clone()));
    if !config.start_join.is_empty()
        && let Err(error) = join::once(&config.start_join, &front).await
    {
        let _ = command_queue.send(Command::Stop).await;
        let _ = drive.await;
        return Err(error);
    }

    let Ok(end) = drive.await else {
        // The disk's thread may be writing still: nobody else is to open the directory before this process is gone.
        std::mem::forget(kept.lock);
        anyhow::bail!("the engine's thread broke");
    };
    drop(kept.lock);
    let _ = stop.send(true);
    serving.await;
    match &end {
        End::Left => tracing::info!("left the cluster"),
        End::Stopped => tracing::info!("stopped without leaving; the others will see this agent fail until it is back"),
        End::Fatal(why) => tracing::error!(why, "stopped"),
        End::Quarantined(why) => {
            if let Some(directory) = &config.data_dir {
                disk::quarantine(directory, why).context("mark the state as not to be trusted")?;
            }
            tracing::error!(why, "stopped; the next start begins anew from the other servers");
        }
    }
    Ok(end)
}

/// What the data directory holds, or stands in for it.
struct Kept {
    id: NodeId,
    generation: u64,
    saved: SavedLocal,
    keyring: Keyring,
    recovered: disk::Recovered,
    disk: Option<disk::Disk>,
    persisted: watch::Receiver<u64>,
    snapshots: watch::Receiver<LogIndex>,
    /// Keeps other agents out of the data directory until the end.
    lock: Option<disk::Lock>,
}

impl Kept {
    fn open(config: &Config) -> Result<Kept> {
        let (durable, persisted) = watch::channel(0);
        let on_persisted = Box::new(move |number| {
            let _ = durable.send(number);
        });
        let (saved_up_to, snapshots) = watch::channel(LogIndex::ZERO);
        let on_saved = Box::new(move |index: LogIndex| {
            tracing::info!(index = index.0, "a snapshot is on disk");
            let _ = saved_up_to.send(index);
        });
        let lock = config.data_dir.as_deref().map(disk::lock).transpose()?;
        let (mut id, generation, saved) = match &config.data_dir {
            Some(directory) => {
                let id = disk::node_id(directory, config.node_id)?;
                let generation = disk::generation(directory, wall_clock_millis())?;
                let saved = match disk::LOCAL.load(directory)? {
                    Some(bytes) => SavedLocal::decode(&bytes).with_context(|| {
                        format!("the saved services and checks in {} cannot be read", directory.display())
                    })?,
                    None => SavedLocal::default(),
                };
                (id, generation, saved)
            }
            None => {
                (config.node_id.unwrap_or_else(|| id_without_disk(config)), wall_clock_millis(), SavedLocal::default())
            }
        };
        let keyring = kept_keys(config)?;
        let (recovered, disk) = match (&config.server, &config.data_dir) {
            (None, _) => (disk::Recovered::default(), None),
            (Some(server), Some(directory)) => {
                // Whoever is the only one, or was told who it is, cannot come back as another.
                let may_rejoin = server.bootstrap_expect != 1 && config.node_id.is_none();
                let reports =
                    disk::Reports { persisted: on_persisted, snapshot_saved: on_saved, failed: Arc::new(disk_failed) };
                let (recovered, disk) = disk::open(directory, id, &disk::Options::new(may_rejoin), reports)?;
                id = recovered.id;
                (recovered, Some(disk))
            }
            (Some(_), None) => (disk::Recovered::default(), Some(disk::Disk::memory(on_persisted, on_saved))),
        };
        Ok(Kept { id, generation, saved, keyring, recovered, disk, persisted, snapshots, lock })
    }
}

/// The keys as an operator last changed them; as configured where nobody did.
fn kept_keys(config: &Config) -> Result<Keyring> {
    let kept = config.data_dir.as_deref().map(|directory| disk::KEYRING.load(directory)).transpose()?.flatten();
    let Some(bytes) = kept else { return Ok(Keyring::new(config.key.clone())) };
    let keyring = Keyring::from_state(KeyringState::decode(&bytes).context("the saved keys cannot be read")?);
    if !keyring.keys().any(|key| *key == config.key) {
        tracing::warn!(
            "encrypt is not used: the keys of this agent were changed since (`quorate keyring`), and the file keyring in the data \
             directory holds them"
        );
    }
    Ok(keyring)
}

/// An agent that keeps nothing is the same node again when it comes back under its name and address, so that it takes over from its
/// former self at once.
fn id_without_disk(config: &Config) -> NodeId {
    let text = format!("{}@{}", config.node_name, config.advertise);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    NodeId::from_random(bytes)
}

/// After a failed write or flush the state of the disk is unknown (fsyncgate): nothing is acknowledged any more, the process ends, and
/// what is really there is read at the next start.
fn disk_failed(error: &disk::DiskError) {
    tracing::error!(%error, "the disk failed; stopping before anything else is acknowledged");
    // No `eprintln!`: it panics where nobody reads, and then nothing would stop.
    let _ = writeln!(io::stderr(), "==> quorate agent: {error}");
    std::process::exit(1);
}

fn engine_config(config: &Config, kept: &mut Kept) -> quorate_engine::Config {
    let recovered = std::mem::take(&mut kept.recovered);
    let server = config.server.map(|server| ServerConfig {
        rejoin: recovered.rejoin,
        hard_state: recovered.hard_state,
        snapshot: recovered.snapshot,
        entries: recovered.entries,
        snapshots: config.snapshots,
        ..ServerConfig::lan(server.bootstrap_expect).slower(server.raft_multiplier)
    });
    let join = config
        .retry_join
        .iter()
        .filter_map(|join| Some(SocketAddr::new(join.host.parse().ok()?, join.port)))
        .filter(|address| *address != config.advertise)
        .collect();
    quorate_engine::Config {
        id: kept.id,
        name: config.node_name.clone(),
        address: config.advertise,
        datacenter: config.datacenter.clone(),
        generation: kept.generation,
        version: VERSION.to_owned(),
        node_meta: config.node_meta.clone(),
        keyring: kept.keyring.clone(),
        timing: config.gossip_timing.clone(),
        join,
        server,
        definitions: config.definitions.clone(),
        saved: std::mem::take(&mut kept.saved),
        patience: Patience::default(),
        seed: rand::random(),
    }
}

/// The opened doors for clients.
struct Doors {
    http: Vec<tokio::net::TcpListener>,
    router: axum::Router,
    dns: Option<hickory_server::Server<quorate_dns::Dns>>,
}

impl Doors {
    async fn open(config: &Config, cluster: Arc<dyn Cluster>) -> Result<Doors> {
        let mut http = Vec::new();
        for address in &config.http {
            http.push(listen::http::listen(*address).await?);
        }
        let router = quorate_http_api::router(
            Arc::clone(&cluster),
            quorate_http_api::Config {
                datacenter: config.datacenter.clone(),
                node_name: config.node_name.clone(),
                node_meta: config.node_meta.clone(),
                max_value_size: config.kv_max_value_size,
                txn_max_req_len: config.txn_max_req_len,
                txn_max_ops: config.txn_max_ops,
                session_ttl_min: config.session_ttl_min,
                pretty: config.dev,
                seed: rand::random(),
                ..quorate_http_api::Config::default()
            },
        );
        let dns = if config.dns_listen.is_empty() {
            None
        } else {
            let seconds = |ttl: Duration| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
            let dns = quorate_dns::Dns::new(
                quorate_dns::Config {
                    domain: config.dns.domain.clone(),
                    alt_domain: config.dns.alt_domain.clone(),
                    datacenter: config.datacenter.clone(),
                    node_ttl: seconds(config.dns.node_ttl),
                    service_ttl: config
                        .dns
                        .service_ttl
                        .iter()
                        .map(|(name, ttl)| (name.clone(), seconds(*ttl)))
                        .collect(),
                    only_passing: config.dns.only_passing,
                    udp_answer_limit: config.dns.udp_answer_limit,
                    serial: u32::try_from(wall_clock_millis() / 1000).unwrap_or(1),
                    seed: rand::random(),
                },
                cluster,
            )?;
            Some(listen::dns::listen(dns, &config.dns_listen)?)
        };
        Ok(Doors { http, router, dns })
    }

    /// Serves until told to stop; the future ends when the last answer under way has left.
    fn serve(self, stopped: watch::Receiver<bool>) -> impl Future<Output = ()> {
        let Doors { http, router, mut dns } = self;
        let serving: Vec<_> = http
            .into_iter()
            .map(|listener| tokio::spawn(listen::http::serve(listener, router.clone(), stopped.clone())))
            .collect();
        async move {
            for door in serving {
                let _ = door.await;
            }
            if let Some(dns) = &mut dns {
                let _ = tokio::time::timeout(Duration::from_secs(1), dns.shutdown_gracefully()).await;
            }
        }
    }
}

/// Where it listens and what to try next, for the person who started it.
fn greet(out: &mut impl Write, config: &Config, id: NodeId) -> io::Result<()> {
    let list = |addresses: &[SocketAddr]| match addresses {
        [] => "off".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let role = match config.server {
        Some(server) => format!("server, bootstrap-expect {}", server.bootstrap_expect),
        None => "client".to_owned(),
    };
    writeln!(out, "==> Quorate {VERSION} runs")?;
    writeln!(out, "        Node name: {} ({id})", config.node_name)?;
    writeln!(out, "       Datacenter: {} ({role})", config.datacenter)?;
    writeln!(out, "         HTTP API: {}", list(&config.http))?;
    writeln!(out, "              DNS: {}", list(&config.dns_listen))?;
    writeln!(out, "    Gossip + QUIC: {} (UDP), known to others as {}", config.gossip, config.advertise)?;
    match &config.data_dir {
        Some(directory) => writeln!(out, "   Data directory: {}", directory.display())?,
        None => writeln!(out, "   Data directory: none, nothing is kept")?,
    }
    if let Some(http) = config.http.first() {
        writeln!(out, "==> Try:  curl http://{http}/v1/agent/members    quorate members -http-addr={http}")?;
    }
    if let Some(dns) = config.dns_listen.first() {
        writeln!(out, "          dig @{} -p {} {}.node.{}", dns.ip(), dns.port(), config.node_name, config.dns.domain)?;
    }
    writeln!(out, "==> Log:")
}
