//! What the core does with an offer, written down for the master.

use marathon_mesos_v1 as v1;
use marathon_model::id::{AgentId, TaskId};
use marathon_model::offer::{Launch, Operation};
use v1::OfferOperationType as Kind;

use crate::pod;
use crate::take::{Short, Stock};
use crate::task::{self, Place, Unfit};

/// A launch that cannot be written down: its tasks and why.
pub struct Refused {
    pub tasks: Vec<TaskId>,
    pub agent: AgentId,
    pub why: String,
}

/// In the order of the core; launches that are unfit are left out. Operations on resources that the offer does not
/// hold make the whole offer useless.
pub fn written(
    operations: &[Operation],
    stock: &mut Stock,
    place: &Place<'_>,
    principal: Option<&str>,
) -> Result<(Vec<v1::OfferOperation>, Vec<Refused>), Short> {
    let mut all = Vec::new();
    let mut refused = Vec::new();
    for it in operations {
        match it {
            Operation::Launch(launches) => launch(launches, stock, place, &mut all, &mut refused),
            Operation::Reserve(wanted) => {
                each_provider(stock.reserve(wanted)?, &mut all, |resources| v1::OfferOperation {
                    r#type: Some(Kind::RESERVE as i32),
                    reserve: Some(v1::OfferOperationReserve { source: Vec::new(), resources }),
                    ..Default::default()
                });
            }
            Operation::Create(wanted) => {
                each_provider(stock.create(wanted, principal)?, &mut all, |volumes| v1::OfferOperation {
                    r#type: Some(Kind::CREATE as i32),
                    create: Some(v1::OfferOperationCreate { volumes }),
                    ..Default::default()
                });
            }
            Operation::Destroy(volumes) => {
                each_provider(stock.destroy(volumes)?, &mut all, |volumes| v1::OfferOperation {
                    r#type: Some(Kind::DESTROY as i32),
                    destroy: Some(v1::OfferOperationDestroy { volumes }),
                    ..Default::default()
                });
            }
            Operation::Unreserve(resources) => {
                each_provider(stock.unreserve(resources)?, &mut all, |resources| v1::OfferOperation {
                    r#type: Some(Kind::UNRESERVE as i32),
                    unreserve: Some(v1::OfferOperationUnreserve { resources }),
                    ..Default::default()
                });
            }
        }
    }
    Ok((all, refused))
}

/// All resources of one operation come from one provider.
fn each_provider(
    resources: Vec<v1::Resource>,
    all: &mut Vec<v1::OfferOperation>,
    operation: impl Fn(Vec<v1::Resource>) -> v1::OfferOperation,
) {
    let mut groups: Vec<(Option<v1::ResourceProviderId>, Vec<v1::Resource>)> = Vec::new();
    for it in resources {
        match groups.iter_mut().find(|(provider, _)| *provider == it.provider_id) {
            Some((_, group)) => group.push(it),
            None => groups.push((it.provider_id.clone(), vec![it])),
        }
    }
    all.extend(groups.into_iter().map(|(_, group)| operation(group)));
}

fn launch(
    launches: &[Launch],
    stock: &mut Stock,
    place: &Place<'_>,
    all: &mut Vec<v1::OfferOperation>,
    refused: &mut Vec<Refused>,
) {
    let mut task_infos = Vec::new();
    for it in launches {
        // What a launch that cannot be written down took must be there for the others.
        let mut rest = stock.clone();
        let written = match it.containers.is_empty() {
            true => task::info(it, &mut rest, place).map(|info| task_infos.push(info)),
            false => pod::group(it, &mut rest, place).map(|group| {
                all.push(v1::OfferOperation {
                    r#type: Some(Kind::LAUNCH_GROUP as i32),
                    launch_group: Some(group),
                    ..Default::default()
                });
            }),
        };
        match written {
            Ok(()) => *stock = rest,
            Err(why) => refused.push(refuse(it, &why)),
        }
    }
    if !task_infos.is_empty() {
        all.push(v1::OfferOperation {
            r#type: Some(Kind::LAUNCH as i32),
            launch: Some(v1::OfferOperationLaunch { task_infos }),
            ..Default::default()
        });
    }
}

fn refuse(it: &Launch, why: &Unfit) -> Refused {
    Refused { tasks: ids(it), agent: it.agent.clone(), why: why.to_string() }
}

/// The ids under which the master reports a launch.
pub fn ids(it: &Launch) -> Vec<TaskId> {
    match it.containers.as_slice() {
        [] => vec![it.task.clone()],
        all => all.iter().map(|it| it.task.clone()).collect(),
    }
}
