//! What a run leaves behind: what each client did and saw, and what the Mesos cluster saw. Nothing in it comes from
//! inside an instance.

/// Seconds since the run began.
pub type Moment = f64;

/// What a client makes of its app: a number in a label, which restarts its tasks, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct State {
    pub label: u64,
    pub instances: u64,
}

/// What an answer says about the change that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// 4xx or 503 of an instance, or 502 that says so, or never sent: it must not happen.
    Refused,
    /// It may have happened, and may happen yet.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    Write(State, Outcome),
    Read(State),
    /// All tasks of its app were to be killed, and to be replaced.
    Kill(Outcome),
    /// All of them were to be replaced, new ones beside old ones.
    Restart(Outcome),
}

/// How a client gets to a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To any instance.
    Direct,
    HaProxy,
    Nginx,
    /// That of keepalived.
    VirtualAddress,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Op {
    pub sent: Moment,
    pub told: Moment,
    pub what: What,
}

/// An instance said that it leads, or answered as only a leader does: it led at a moment between these two.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    pub instance: usize,
    pub sent: Moment,
    pub told: Moment,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    Subscribed {
        framework: String,
        by: usize,
        stream: String,
    },
    Call {
        kind: String,
        stream: String,
        taken: bool,
        /// The task that it kills.
        kills: Option<String>,
        /// It answers something that was said then, so it was sent later.
        since: Option<Moment>,
    },
    Launched {
        task: String,
        agent: u64,
        /// Whose app, and the label with which it was launched.
        client: usize,
        label: u64,
    },
    Ended {
        task: String,
    },
    AgentAway(u64),
    AgentBack(u64),
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub at: Moment,
    pub deed: Deed,
}

/// One client's app in the end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct End {
    pub wanted: State,
    /// As each instance tells it.
    pub told: Vec<Option<State>>,
    /// Ids of tasks that Marathon says run, and that do run.
    pub told_tasks: Vec<String>,
    pub real_tasks: Vec<String>,
    pub deployments: usize,
}

/// Requests by one way, in the end.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    pub way: Way,
    pub asked: u64,
    /// By an instance that did not lead.
    pub passed_on: u64,
    pub failed: u64,
}

#[derive(Debug, Clone, Default)]
pub struct History {
    pub clients: Vec<Vec<Op>>,
    /// By client.
    pub ways: Vec<Way>,
    pub claims: Vec<Claim>,
    pub cluster: Vec<Entry>,
    pub ends: Vec<End>,
    pub shares: Vec<Share>,
}

impl History {
    /// For people: everything in order of time, a line each.
    pub fn lines(&self) -> String {
        let mut all: Vec<(Moment, String)> = Vec::new();
        all.extend(self.cluster.iter().map(|it| (it.at, format!("cluster {:?}", it.deed))));
        for (id, ops) in self.clients.iter().enumerate() {
            let way = self.ways.get(id);
            all.extend(
                ops.iter()
                    .map(|it| (it.sent, format!("client{id} by {way:?} {:?} told {:.3}", it.what, it.told))),
            );
        }
        let claims = self.claims.iter();
        all.extend(
            claims.map(|it| (it.sent, format!("instance {} leads, told {:.3}", it.instance, it.told))),
        );
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.iter().map(|(at, line)| format!("{at:10.3} {line}\n")).collect()
    }
}

/// The promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    NothingIsLost,
    OneLeader,
    NothingIsLaunchedTwice,
    OnlyWhatWasAsked,
    NoMoreThanAllowed,
    EverythingSettles,
}

#[derive(Debug, Clone)]
pub struct Violation {
    pub rule: Rule,
    pub what: String,
}
