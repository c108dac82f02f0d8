//! Who gets every event by POST. Delivering is the shell's; here is only who, and that it is stored.

use marathon_model::act::Act;
use marathon_model::callback::{CallbackUrl, Subscriber};
use marathon_model::command::{Refusal, Reply};
use marathon_model::notice::{Notice, What};
use marathon_model::write::Write;

use crate::Core;

/// Each costs a connection and a request for every event, so a client that registers itself anew under
/// ever other names must not go on for ever.
const SUBSCRIBERS_MAX: usize = 100;

impl Core {
    pub(crate) fn subscribe(&mut self, url: CallbackUrl, client_ip: String) -> Reply {
        let callbacks = &self.world.view.callbacks;
        let known = callbacks.get(&url).copied();
        if known.is_none() && callbacks.len() >= SUBSCRIBERS_MAX {
            return Reply::Refused(Refusal::Illegal(format!(
                "There are {SUBSCRIBERS_MAX} event subscriptions already; delete one of them first"
            )));
        }
        if known != Some(Subscriber::Asked) {
            self.world.changed = true;
            self.world.view.callbacks.insert(url.clone(), Subscriber::Asked);
            self.world.write(Write::Callback(url.clone()));
        }
        self.told(What::CallbackAdded { client_ip, url })
    }

    pub(crate) fn unsubscribe(&mut self, url: CallbackUrl, client_ip: String) -> Reply {
        if let Some(was) = self.world.view.callbacks.remove(&url) {
            self.world.changed = true;
            if was == Subscriber::Asked {
                self.world.write(Write::CallbackGone(url.clone()));
            }
        }
        self.told(What::CallbackRemoved { client_ip, url })
    }

    /// What was stored comes first: an address that is both stored and configured stays when the flag goes.
    pub(crate) fn subscribe_configured(&mut self) {
        for url in &self.policy.callbacks {
            self.world.view.callbacks.entry(url.clone()).or_insert(Subscriber::Configured);
        }
    }

    /// The answer is the event itself.
    fn told(&mut self, what: What) -> Reply {
        let notice = Notice { at: self.world.now.wall, what };
        self.world.out.acts.push(Act::Publish(notice.clone()));
        Reply::Told(Box::new(notice))
    }
}
