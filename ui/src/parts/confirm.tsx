// One dialog for everything that changes something: what will happen, one button, the result for each target. It may
// be closed while the change goes on; a message then tells how it ended.

import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { plural } from '../lib/format.ts';
import type { Place } from '../lib/route.ts';
import { ApiError, wordsOf } from '../state/api.ts';
import { deployments, expectChange, outcomes } from '../state/store.ts';
import { closeDialog, toast } from '../state/view.ts';
import { Icon, Link, Problem } from './basic.tsx';
import { PreviewView, type Preview } from './preview.tsx';

export interface Result {
  deploymentId?: string;
}

export interface Job {
  title: string;
  /** On the button. */
  verb: string;
  /** In the message afterwards: "Scaling /web to 3." */
  done: string;
  danger?: boolean;
  /** Names of what is changed; one request for each. */
  targets: string[];
  send: (target: string, force: boolean) => Promise<Result | undefined>;
  dry?: (target: string, force: boolean) => Promise<Preview>;
  /** The preview is asked for anew when this changes. */
  dryKey?: string;
  invalid?: string;
  children?: ComponentChildren;
  /** Where the message leads. */
  link?: { text: string; place: Place };
  sent?: () => void;
  /** What the button says where a deployment is in the way. */
  forceVerb?: string;
}

type State = { is: 'idle' | 'sending' | 'done' } | { is: 'under way'; deployment: string } | { is: 'failed'; text: string } | { is: 'locked'; by: string[] };

const AT_A_TIME = 4;
const PREVIEWS_MAX = 8;
/** Targets shown one by one. */
const LINES_MAX = 200;

export function Confirm(job: Job) {
  const states = useSignal<Record<string, State>>({});
  const sent = useSignal(false);
  const previews = useSignal<Record<string, Preview | string>>({});
  const one = job.targets.length === 1 ? job.targets[0] : undefined;
  const put = (target: string, state: State) => (states.value = { ...states.value, [target]: state });

  useEffect(() => {
    const { dry } = job;
    if (!dry || job.invalid || job.targets.length > PREVIEWS_MAX) return undefined;
    let over = false;
    const timer = setTimeout(() => {
      for (const target of job.targets) {
        dry(target, false)
          // The preview of what is locked is that of the forced change: it is what can be done.
          .catch((error: unknown) => (error instanceof ApiError && error.isLocked ? dry(target, true) : Promise.reject(error)))
          .then((it): Preview | string => it, (error: unknown): Preview | string => wordsOf(error))
          .then((it) => {
            if (!over) previews.value = { ...previews.value, [target]: it };
          });
      }
    }, 120);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [job.dryKey, job.invalid]);

  const send = async (targets: string[], force: boolean) => {
    sent.value = true;
    const queue = [...targets];
    const worker = async () => {
      for (let target = queue.shift(); target !== undefined; target = queue.shift()) {
        put(target, { is: 'sending' });
        try {
          const result = await job.send(target, force);
          expectChange(target);
          put(target, result?.deploymentId ? { is: 'under way', deployment: result.deploymentId } : { is: 'done' });
        } catch (error) {
          if (error instanceof ApiError && error.isLocked && !force) put(target, { is: 'locked', by: error.deployments });
          else put(target, { is: 'failed', text: wordsOf(error) });
        }
      }
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, worker));
    job.sent?.();
    if (one === undefined) return;
    const state = states.value[one]!;
    if (state.is === 'under way' || state.is === 'done') {
      toast({ kind: state.is === 'done' ? 'ok' : 'info', text: job.done, deployment: state.is === 'under way' ? state.deployment : undefined, link: job.link });
      closeDialog();
    }
  };

  const of = (is: State['is']) => job.targets.filter((it) => states.value[it]?.is === is);
  const [locked, failed, sending] = [of('locked'), of('failed'), of('sending')];
  const busy = sending.length > 0;
  const single = one !== undefined ? states.value[one] : undefined;
  const again = sent.value && !busy && (locked.length > 0 || failed.length > 0);
  const over = sent.value && !busy && !again;
  return (
    <form
      class="confirm"
      onSubmit={(event) => {
        event.preventDefault();
        if (!busy && !job.invalid && !over) void send(locked.length > 0 ? locked : failed.length > 0 ? failed : job.targets, locked.length > 0);
      }}
    >
      <h2 id="dialog-title">{job.title}</h2>
      {!(sent.value && one === undefined) && job.children}
      {job.invalid && <p class="field-error" role="alert">{job.invalid}</p>}
      {one !== undefined && !job.invalid && job.dry && single?.is !== 'failed' && (
        previews.value[one] === undefined
          ? <p class="dim preview-wait">Working out what would happen …</p>
          : typeof previews.value[one] === 'string'
            ? <Problem text={previews.value[one]} />
            : <PreviewView it={previews.value[one]} />
      )}
      {one === undefined && (
        <ul class="targets" aria-label="What is changed">
          {job.targets.slice(0, LINES_MAX).map((target) => <TargetLine key={target} target={target} state={states.value[target]} preview={previews.value[target]} />)}
          {job.targets.length > LINES_MAX && <li><span class="target-text">and {job.targets.length - LINES_MAX} more: {of('done').length + of('under way').length} sent, {failed.length + locked.length} refused</span></li>}
        </ul>
      )}
      {single?.is === 'failed' && <Problem text={single.text} />}
      {locked.length > 0 && !busy && (
        <div class="problem" role="alert">
          <Icon name="warning" />
          <p>
            {one ?? plural(locked.length, 'application')} {locked.length === 1 ? 'is' : 'are'} being changed by another deployment.
            You can wait until it is done, or stop it where it is and go on with this change.{' '}
            <Link to={{ at: 'deployments' }}>Show deployments</Link>
          </p>
        </div>
      )}
      <div class="dialog-end">
        <button type="button" onClick={closeDialog}>{sent.value ? 'Close' : 'Cancel'}</button>
        {!over && (
          <button type="submit" class={job.danger || locked.length > 0 ? 'primary danger' : 'primary'} disabled={busy || !!job.invalid} autofocus={!job.children}>
            {busy ? 'Sending …' : locked.length > 0 ? (job.forceVerb ?? `Stop the deployment and ${job.verb.toLowerCase()}`) : failed.length > 0 ? 'Try again' : job.verb}
          </button>
        )}
      </div>
    </form>
  );
}

function TargetLine({ target, state, preview }: { target: string; state: State | undefined; preview: Preview | string | undefined }) {
  let [mark, text]: [string, string] = ['', ''];
  if (!state || state.is === 'idle') {
    text = preview === undefined ? '' : typeof preview === 'string' ? preview : preview.message;
  } else if (state.is === 'under way') {
    const outcome = outcomes.value.find((it) => it.id === state.deployment);
    const running = deployments.value.find((it) => it.id === state.deployment);
    [mark, text] = outcome
      ? outcome.ok ? ['ok', 'done'] : ['bad', outcome.reason || 'it did not come about']
      : ['busy', running ? `step ${running.currentStep} of ${running.totalSteps}` : 'under way'];
  } else if (state.is === 'failed') {
    [mark, text] = ['bad', state.text];
  } else if (state.is === 'locked') {
    [mark, text] = ['bad', 'is being changed by another deployment'];
  } else {
    [mark, text] = state.is === 'done' ? ['ok', 'done'] : ['busy', 'sending …'];
  }
  return (
    <li class={mark}>
      <span class="target-mark" aria-hidden="true">{mark === 'busy' ? <i class="spinner" /> : mark === 'ok' ? <Icon name="check" /> : mark === 'bad' ? <Icon name="warning" /> : null}</span>
      <code>{target}</code><span class="target-text">{text}</span>
    </li>
  );
}
