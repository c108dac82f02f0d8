//! The status updates of one task on their way to the core.
//!
//! As in Mesos, updates of a task arrive in order and one at a time: only the head of the queue is
//! sent, it is repeated until acknowledged, and then the next one goes out.

use std::collections::VecDeque;
use std::time::Duration;

use marathon_model::offer::{TaskState, TaskStatus, UpdateId};
use marathon_model::time::Tick;

/// Before an update is sent again for the first time; doubled each time up to the ceiling.
const RESEND_FIRST: Duration = Duration::from_secs(10);
const RESEND_CEILING: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub struct Updates {
    queue: VecDeque<TaskStatus>,
    /// When the head is due again, and after which pause.
    resend: Option<(Tick, Duration)>,
    /// The last acknowledged one: what the core knows when nothing is under way.
    acknowledged: Option<TaskStatus>,
}

pub fn is_terminal(state: TaskState) -> bool {
    use TaskState::*;
    matches!(state, Finished | Failed | Killed | Error | Lost | Dropped | Gone | GoneByOperator)
}

impl Updates {
    /// Takes a new update; what it returns is to be sent now.
    pub fn push(&mut self, status: TaskStatus, now: Tick) -> Option<TaskStatus> {
        // Waiting reports of health replace each other, or a flapping check would fill the queue of a
        // core that does not answer.
        let waiting = self.queue.len() > 1;
        match self.queue.back_mut() {
            Some(last)
                if waiting && last.state == TaskState::Running && status.state == TaskState::Running =>
            {
                *last = status;
                return None;
            }
            _ => self.queue.push_back(status),
        }
        if self.queue.len() == 1 { self.send_head(now) } else { None }
    }

    fn send_head(&mut self, now: Tick) -> Option<TaskStatus> {
        let head = self.queue.front()?;
        self.resend = Some((now + RESEND_FIRST, RESEND_FIRST));
        Some(head.clone())
    }

    /// Drops the head if this is its id. Returns the acknowledged update and the next to send.
    pub fn acknowledge(&mut self, update: UpdateId, now: Tick) -> Option<(TaskState, Option<TaskStatus>)> {
        if self.queue.front()?.update != Some(update) {
            return None;
        }
        let head = self.queue.pop_front()?;
        let state = head.state;
        self.acknowledged = Some(head);
        self.resend = None;
        Some((state, self.send_head(now)))
    }

    /// When something is to be sent again.
    pub fn due(&self) -> Option<Tick> {
        self.resend.map(|(at, _)| at)
    }

    /// The head, if it is due again.
    pub fn resend(&mut self, now: Tick) -> Option<TaskStatus> {
        let (at, pause) = self.resend?;
        if now < at {
            return None;
        }
        let pause = (pause * 2).min(RESEND_CEILING);
        self.resend = Some((now + pause, pause));
        self.queue.front().cloned()
    }

    /// The head once more, as after a lost connection.
    pub fn repeat(&mut self, now: Tick) -> Option<TaskStatus> {
        self.send_head(now)
    }

    /// The last update the core has been sent.
    pub fn latest_sent(&self) -> Option<&TaskStatus> {
        self.queue.front().or(self.acknowledged.as_ref())
    }
}
