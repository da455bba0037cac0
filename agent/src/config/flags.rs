//! The flags of `quorate agent`, in Consul's words, and how they become a [`File`].

use super::{ConfigError, File, files_in, hcl_comes_later, is_hcl, keys, restrictions};
use clap::{ArgAction, Parser};
use quorate_cli::normalise_dashes;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Starts an agent: a member of the cluster, and with -server one of those that keep its store.
///
/// Flags may be written with one dash or two, as -node=web-1 or -node web-1. A flag wins over the same key in a file.
#[derive(Debug, Clone, Default, Parser)]
#[command(
    name = "quorate agent",
    bin_name = "quorate agent",
    no_binary_name = true,
    args_override_self = true,
    disable_help_flag = true,
    max_term_width = 110,
    after_help = "Try it:    quorate agent -dev\n\
                  A cluster: quorate keygen, then on each of three hosts\n           \
                  quorate agent -server -bootstrap-expect=3 -data-dir=/var/lib/quorate -encrypt=KEY -retry-join=HOST1"
)]
pub struct Flags {
    /// One server on loopback that needs nobody and keeps nothing on disk
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    dev: Option<bool>,
    /// Takes part in the store
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    server: Option<bool>,
    /// Starts a cluster with this server alone; the same as -bootstrap-expect=1
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    bootstrap: Option<bool>,
    /// How many servers to wait for before the first election
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    bootstrap_expect: Option<i64>,
    /// Where the agent keeps what must survive a restart; a server needs one, a client without one keeps nothing
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The address for traffic between agents [default: 0.0.0.0]
    #[arg(long, value_name = "IP")]
    bind: Option<String>,
    /// The address that others are told [default: that of -bind, or this host's private one]
    #[arg(long, value_name = "IP")]
    advertise: Option<String>,
    /// The addresses of the HTTP API and DNS, separated by spaces [default: 127.0.0.1]
    #[arg(long, value_name = "IPS")]
    client: Option<String>,
    /// The name of this agent, unique in its datacenter [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The identity of this agent [default: kept in the data directory]
    #[arg(long, value_name = "UUID")]
    node_id: Option<String>,
    /// What to say about this node; may be repeated
    #[arg(long, value_name = "KEY:VALUE")]
    node_meta: Vec<String>,
    /// The datacenter this agent belongs to [default: dc1]
    #[arg(long, value_name = "NAME")]
    datacenter: Option<String>,
    /// An agent to join at the start; being unable to is an error; may be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    join: Vec<String>,
    /// An agent to join, tried until one answers; may be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    retry_join: Vec<String>,
    /// The longest wait between two tries to join [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = go_duration)]
    retry_interval: Option<Duration>,
    /// The key that secures all traffic between agents, from `quorate keygen`
    #[arg(long, value_name = "KEY")]
    encrypt: Option<String>,
    /// The port of the HTTP API, -1 for none [default: 8500]
    #[arg(long, value_name = "PORT", value_parser = whole, allow_negative_numbers = true)]
    http_port: Option<i64>,
    /// The port of DNS, -1 for none [default: 8600]
    #[arg(long, value_name = "PORT", value_parser = whole, allow_negative_numbers = true)]
    dns_port: Option<i64>,
    /// The port of all traffic between agents [default: 8301]
    #[arg(long, value_name = "PORT", value_parser = whole, allow_negative_numbers = true)]
    serf_lan_port: Option<i64>,
    /// Known, unused: -serf-lan-port carries everything
    #[arg(long, value_name = "PORT", value_parser = whole, allow_negative_numbers = true, hide = true)]
    server_port: Option<i64>,
    /// The domain that DNS answers for [default: consul]
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// A second domain that DNS answers for
    #[arg(long, value_name = "DOMAIN")]
    alt_domain: Option<String>,
    /// A JSON file to read, or a directory of them; may be repeated
    #[arg(long, value_name = "PATH")]
    config_file: Vec<PathBuf>,
    /// A directory whose .json files are read in lexical order; may be repeated
    #[arg(long, value_name = "DIR")]
    config_dir: Vec<PathBuf>,
    /// Only json
    #[arg(long, value_name = "FORMAT", hide = true)]
    config_format: Option<String>,
    /// Checks from configuration files may run programs
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    enable_local_script_checks: Option<bool>,
    /// Any check may, also those that come over the API: whoever reaches it can run any program
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    enable_script_checks: Option<bool>,
    /// How many bytes of output a check keeps, at most [default: 4096]
    #[arg(long = "check_output_max_size", value_name = "BYTES", value_parser = whole, allow_negative_numbers = true)]
    check_output_max_size: Option<i64>,
    /// How much is logged: trace, debug, info, warn or error [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Logs one JSON object a line
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    log_json: Option<bool>,
    /// A script to run when something happens: [TYPE[:NAME],…=]SCRIPT; may be repeated
    #[arg(long, value_name = "HANDLER")]
    event_handler: Vec<String>,
    /// How fast gossip is: lan, lan-calm, wan or local [default: lan]
    #[arg(long, value_name = "PROFILE")]
    gossip_profile: Option<String>,
    /// Prints this
    #[arg(short = 'h', long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Where files and directories came on the command line, in order.
    #[arg(skip)]
    sources: Vec<Source>,
}

#[derive(Debug, Clone)]
enum Source {
    File(PathBuf),
    Directory(PathBuf),
}

impl Flags {
    /// The flags among `args`, which are those after the word `agent`, and sentences about those without effect.
    ///
    /// # Errors
    /// [`ConfigError::Show`] for help; [`ConfigError::Flag`] for a command line that is not understood.
    pub fn parse(args: Vec<OsString>) -> Result<(Flags, Vec<String>), ConfigError> {
        let (args, warnings) = without_ignored(normalise_dashes(args))?;
        let command = <Flags as clap::CommandFactory>::command();
        let parsed = command.try_get_matches_from(args).and_then(|matches| {
            let mut flags = <Flags as clap::FromArgMatches>::from_arg_matches(&matches)?;
            flags.sources = sources(&matches);
            Ok(flags)
        });
        match parsed {
            Ok(flags) => Ok((flags, warnings)),
            Err(e) if !e.use_stderr() => Err(ConfigError::Show(e.render().to_string(), e.exit_code())),
            Err(e) => {
                let text = e.render().to_string();
                Err(ConfigError::Flag(text.trim().trim_start_matches("error: ").to_owned()))
            }
        }
    }

    /// Whether this is a throwaway agent.
    pub fn dev(&self) -> bool {
        self.dev.unwrap_or(false)
    }

    /// The configuration files to read, in the order in which they were named.
    ///
    /// # Errors
    /// A directory cannot be read, or a file is not JSON by its name.
    pub fn files(&self) -> Result<Vec<PathBuf>, ConfigError> {
        if let Some(format) = self.config_format.as_deref().filter(|format| *format != "json") {
            return Err(ConfigError::Setting {
                key: "-config-format".to_owned(),
                value: super::keys::cut(format),
                place: String::new(),
                remedy: "HCL comes later; write the same keys as JSON".to_owned(),
            });
        }
        let mut files = Vec::new();
        for source in &self.sources {
            match source {
                Source::Directory(path) => files.extend(files_in(path)?),
                Source::File(path) if path.is_dir() => files.extend(files_in(path)?),
                Source::File(path) if is_hcl(path) => return Err(hcl_comes_later(path)),
                Source::File(path) => files.push(path.clone()),
            }
        }
        Ok(files)
    }

    /// The flags as a [`File`], to be laid over the others.
    pub fn into_file(self) -> File {
        let mut file = File {
            datacenter: self.datacenter,
            node_name: self.node,
            node_id: self.node_id,
            node_meta: self.node_meta.iter().map(|pair| key_and_value(pair)).collect(),
            data_dir: self.data_dir,
            domain: self.domain,
            alt_domain: self.alt_domain,
            server: self.server,
            bootstrap: self.bootstrap,
            bootstrap_expect: self.bootstrap_expect,
            bind_addr: self.bind,
            advertise_addr: self.advertise,
            client_addr: self.client,
            retry_join: self.retry_join,
            start_join: self.join,
            retry_interval: self.retry_interval,
            encrypt: self.encrypt,
            log_level: self.log_level,
            log_json: self.log_json,
            gossip_profile: self.gossip_profile,
            enable_local_script_checks: self.enable_local_script_checks,
            enable_script_checks: self.enable_script_checks,
            check_output_max_size: self.check_output_max_size,
            event_handlers: self.event_handler,
            ..File::default()
        };
        file.ports.http = self.http_port;
        file.ports.dns = self.dns_port;
        file.ports.serf_lan = self.serf_lan_port;
        file.ports.server = self.server_port;
        for (key, flag, given) in [
            ("datacenter", "-datacenter", file.datacenter.is_some()),
            ("node_name", "-node", file.node_name.is_some()),
            ("node_id", "-node-id", file.node_id.is_some()),
            ("node_meta", "-node-meta", !file.node_meta.is_empty()),
            ("data_dir", "-data-dir", file.data_dir.is_some()),
            ("domain", "-domain", file.domain.is_some()),
            ("alt_domain", "-alt-domain", file.alt_domain.is_some()),
            ("server", "-server", file.server.is_some()),
            ("bootstrap", "-bootstrap", file.bootstrap.is_some()),
            ("bootstrap_expect", "-bootstrap-expect", file.bootstrap_expect.is_some()),
            ("bind_addr", "-bind", file.bind_addr.is_some()),
            ("advertise_addr", "-advertise", file.advertise_addr.is_some()),
            ("client_addr", "-client", file.client_addr.is_some()),
            ("retry_join", "-retry-join", !file.retry_join.is_empty()),
            ("start_join", "-join", !file.start_join.is_empty()),
            ("retry_interval", "-retry-interval", file.retry_interval.is_some()),
            ("encrypt", "-encrypt", file.encrypt.is_some()),
            ("check_output_max_size", "-check_output_max_size", file.check_output_max_size.is_some()),
            ("log_level", "-log-level", file.log_level.is_some()),
            ("gossip_profile", "-gossip-profile", file.gossip_profile.is_some()),
            ("event_handlers", "-event-handler", !file.event_handlers.is_empty()),
            ("ports.http", "-http-port", file.ports.http.is_some()),
            ("ports.dns", "-dns-port", file.ports.dns.is_some()),
            ("ports.serf_lan", "-serf-lan-port", file.ports.serf_lan.is_some()),
            ("ports.server", "-server-port", file.ports.server.is_some()),
        ] {
            if given {
                file.came_from(flag, [key]);
            }
        }
        file
    }
}

/// Consul's flags that change nothing here, so that start scripts keep working: the name, whether a value follows, and why.
const IGNORED: &[(&str, bool, &str)] = &[
    ("advertise-wan", true, "datacenters are not linked yet"),
    ("auto-reload-config", false, "the configuration is read again on SIGHUP and `quorate reload`"),
    ("default-query-time", true, "a blocking query waits five minutes unless it says otherwise"),
    ("disable-host-node-id", false, "a node id is never made from the host's"),
    ("disable-keyring-file", false, "a keyring file is written only once a key is changed"),
    ("grpc-port", true, "there is no gRPC interface"),
    ("grpc-tls-port", true, "there is no gRPC interface"),
    ("https-port", true, "HTTPS comes later"),
    ("join-wan", true, "datacenters are not linked yet"),
    ("log-file", true, "the log goes to standard output; redirect it"),
    ("log-rotate-bytes", true, "the log goes to standard output"),
    ("log-rotate-duration", true, "the log goes to standard output"),
    ("log-rotate-max-files", true, "the log goes to standard output"),
    ("max-query-time", true, "a blocking query waits ten minutes at most"),
    ("pid-file", true, "no pid file is written; let the service manager keep the pid"),
    ("primary-gateway", true, "there is no service mesh"),
    ("protocol", true, "agents agree on the protocol by themselves"),
    ("raft-protocol", true, "there is one Raft protocol"),
    ("recursor", true, "names outside the domain are not looked up"),
    ("rejoin", false, "use -retry-join"),
    ("retry-interval-wan", true, "datacenters are not linked yet"),
    ("retry-join-wan", true, "datacenters are not linked yet"),
    ("retry-max", true, "joining is tried until it works"),
    ("retry-max-wan", true, "datacenters are not linked yet"),
    ("serf-lan-bind", true, "use -bind"),
    ("serf-wan-bind", true, "use -bind"),
    ("serf-wan-port", true, "-serf-lan-port carries everything"),
    ("syslog", false, "the log goes to standard output"),
    ("ui", false, "there is no web interface yet"),
    ("ui-content-path", true, "there is no web interface yet"),
    ("ui-dir", true, "there is no web interface yet"),
];

/// Takes the flags in [`IGNORED`] out, with a sentence for each.
fn without_ignored(args: Vec<OsString>) -> Result<(Vec<OsString>, Vec<String>), ConfigError> {
    let (mut kept, mut warnings) = (Vec::new(), Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            kept.push(arg);
            kept.extend(args);
            break;
        }
        let text = arg.to_str().and_then(|text| text.strip_prefix("--")).unwrap_or_default();
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        if let Some(remedy) = restrictions::of_flag(name) {
            let value =
                value.map(str::to_owned).or_else(|| args.next().map(|next| next.to_string_lossy().into_owned()));
            return Err(ConfigError::Setting {
                key: format!("-{name}"),
                value: super::keys::cut(&value.unwrap_or_default()),
                place: String::new(),
                remedy: remedy.to_owned(),
            });
        }
        match IGNORED.iter().find(|(ignored, _, _)| *ignored == name) {
            None => kept.push(arg),
            Some((name, takes_value, why)) => {
                if *takes_value && value.is_none() {
                    args.next();
                }
                warnings.push(format!("-{name} has no effect in Quorate: {why}"));
            }
        }
    }
    Ok((kept, warnings))
}

/// Files and directories in the order of the command line: a later one wins, whichever flag named it.
fn sources(matches: &clap::ArgMatches) -> Vec<Source> {
    let named = |id: &str, source: fn(PathBuf) -> Source| -> Vec<(usize, Source)> {
        let places = matches.indices_of(id).into_iter().flatten();
        let paths = matches.get_many::<PathBuf>(id).into_iter().flatten();
        places.zip(paths).map(|(place, path)| (place, source(path.clone()))).collect()
    };
    let mut all = named("config_file", Source::File);
    all.extend(named("config_dir", Source::Directory));
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, source)| source).collect()
}

fn key_and_value(pair: &str) -> (String, String) {
    let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
    (key.to_owned(), value.to_owned())
}

fn whole(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "a whole number is expected, such as 8500".to_owned())
}

fn go_duration(text: &str) -> Result<Duration, String> {
    keys::duration(text).ok_or_else(|| format!("{} is expected", keys::DURATION))
}
