//! A mosquitto of the test's own: its folder, its configuration, its process.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// Where a system keeps the programs of mosquitto, if not on the search path.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/sbin"];

/// How often, and after what pause each time, to look whether the broker is there: 10 s.
const LOOKS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// A broker that is killed when this is dropped.
pub(crate) struct Mosquitto {
    // Dropped, and so killed, before its folder is removed.
    child: Child,
    folder: Folder,
    port: Port,
    /// Those of further listeners.
    further: Vec<Port>,
}

impl Mosquitto {
    /// Anyone may connect, and no queue is limited in its length (by default mosquitto drops what is beyond 1 000).
    pub(crate) async fn start() -> Self {
        Self::with("allow_anonymous true\n", Folder::new()).await
    }

    /// The same, and nothing is limited that is in flight. With a limit, mosquitto 2.0.11 queues what is beyond it, and
    /// its log shows that it can then send a new message ahead of older ones in the queue when a client comes back.
    pub(crate) async fn without_window() -> Self {
        Self::with("allow_anonymous true\nmax_inflight_messages 0\n", Folder::new()).await
    }

    /// Like [`start`](Self::start), and what a Session holds outlives [`stop`](Self::stop).
    pub(crate) async fn persistent() -> Self {
        let folder = Folder::new();
        let location = format!("persistence_location {}/\n", folder.0.display());
        Self::with(&format!("allow_anonymous true\npersistence true\n{location}",), folder).await
    }

    /// Only `user` with `password` may connect.
    pub(crate) async fn with_user(user: &str, password: &str) -> Self {
        let folder = Folder::new();
        let file = folder.0.join("passwords");
        let mut command = program("mosquitto_passwd");
        let made = output(command.args(["-b", "-c"]).arg(&file).args([user, password])).await;
        assert!(made.status.success(), "mosquitto_passwd: {}", String::from_utf8_lossy(&made.stderr));
        Self::with(&format!("allow_anonymous false\npassword_file {}\n", file.display()), folder).await
    }

    /// With `count` further listeners, which `config` describes, given the folder, which has these files, and their ports.
    pub(crate) async fn with_listeners(
        count: usize,
        files: &[(&str, &String)],
        config: impl FnOnce(&Path, &[u16]) -> String,
    ) -> Self {
        let folder = Folder::new();
        for (name, content) in files {
            std::fs::write(folder.0.join(name), content).unwrap();
        }
        let further: Vec<_> = (0..count).map(|_| Port::take()).collect();
        let ports: Vec<_> = further.iter().map(|port| port.number).collect();
        let config = config(&folder.0, &ports);
        let mut broker = Self::with(&config, folder).await;
        broker.further = further;
        broker
    }

    async fn with(config: &str, folder: Folder) -> Self {
        let port = Port::take();
        // The user matters only to root, who otherwise becomes one that may not write to the folder.
        let rest = format!("listener {} 127.0.0.1\nuser root\nmax_queued_messages 0\n", port.number);
        std::fs::write(folder.config(), format!("{rest}{config}")).unwrap();
        let child = spawn(&folder, port.number).await;
        Self { folder, port, further: Vec::new(), child }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number
    }

    /// The ports of the further listeners.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.further.iter().map(|port| port.number).collect()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }

    pub(crate) fn uri(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port.number)
    }

    /// Asks it to end, with SIGTERM, and waits until it has.
    pub(crate) async fn stop(&mut self) {
        let pid = self.child.id().expect("it runs").to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(killed.success());
        assert!(self.child.wait().await.unwrap().success());
    }

    /// Starts it again, on the same port.
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(&self.folder, self.port.number).await;
    }
}

impl Drop for Mosquitto {
    /// A test that fails says whether the broker still lived, and what it said last.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read(self.folder.0.join("log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let last: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!(
                "mosquitto: {:?}; its log, the last line first:\n{}",
                self.child.try_wait(),
                last.join("\n")
            );
        }
    }
}

/// Starts a mosquitto and waits until it can be connected to.
async fn spawn(folder: &Folder, port: u16) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.0.join("log")).unwrap();
    let mut command = program("mosquitto");
    command.arg("-c").arg(folder.config()).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let mut child = command.kill_on_drop(true).spawn().unwrap_or_else(|error| panic!("mosquitto: {error}"));
    for _ in 0..LOOKS {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return child;
        }
        assert!(child.try_wait().unwrap().is_none(), "mosquitto does not start");
        sleep(PAUSE).await;
    }
    panic!("mosquitto listens on port {port}");
}

/// A free port that stays ours while no mosquitto has it: the system gives a port that a socket is bound to to nobody who
/// asks for any port, and as long as that socket does not listen, mosquitto may, on Linux.
struct Port {
    number: u16,
    _held: Option<TcpSocket>,
}

impl Port {
    fn take() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let number = socket.local_addr().unwrap().port();
        Self { number, _held: cfg!(target_os = "linux").then_some(socket) }
    }
}

/// A program of mosquitto's, on the search path or where else it may be.
pub(crate) fn program(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    let found = known.map(|folder| folder.join(name)).find(|file| file.is_file());
    Command::new(found.unwrap_or_else(|| panic!("{name} is not installed: these tests need it")))
}

/// Runs a program to its end.
pub(crate) async fn output(command: &mut Command) -> Output {
    command.kill_on_drop(true).stdin(Stdio::null()).output().await.unwrap()
}

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mqtt-tokio-mosquitto-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn config(&self) -> PathBuf {
        self.0.join("mosquitto.conf")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
