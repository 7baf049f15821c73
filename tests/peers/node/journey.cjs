// The JavaScript SDKs, unmodified, through the whole journey. Says each step as a line of JSON on standard output and
// waits, where a step needs the world outside, for the event that it causes. Credentials come from the environment.
const { SDK } = require('@ringcentral/sdk');
const { Subscriptions } = require('@ringcentral/subscriptions');

const env = process.env;
const STORE = '/restapi/v1.0/account/~/extension/~/message-store';
const say = (step, value) => process.stdout.write(JSON.stringify({ step, value }) + '\n');

// Hands out notifications in order; `next` waits for one.
function inbox() {
  const waiting = [];
  const arrived = [];
  return {
    put: (event) => (waiting.length ? waiting.shift()(event) : arrived.push(event)),
    next: () => (arrived.length ? Promise.resolve(arrived.shift()) : new Promise((resolve) => waiting.push(resolve))),
  };
}

async function main() {
  const sdk = new SDK({
    server: env.RINGCENTRAL_SERVER_URL,
    clientId: env.RINGCENTRAL_CLIENT_ID,
    clientSecret: env.RINGCENTRAL_CLIENT_SECRET,
  });
  const platform = sdk.platform();
  await platform.login({ jwt: env.RINGCENTRAL_JWT_TOKEN });
  say('login', await platform.auth().data());

  const hook = await platform.post('/restapi/v1.0/subscription', {
    eventFilters: [`${STORE}/instant?type=SMS`, STORE],
    deliveryMode: { transportType: 'WebHook', address: env.WEBHOOK_ADDRESS },
  });
  say('hooked', await hook.json());

  const notifications = inbox();
  const subscription = new Subscriptions({ sdk }).createSubscription();
  subscription.on(subscription.events.notification, notifications.put);
  const registered = await subscription
    .setEventFilters([`${STORE}/instant?type=SMS`, STORE])
    .register();
  say('subscribed', registered.subscriptionInfo);

  const events = [await notifications.next(), await notifications.next()];
  say('events', events);
  const instant = events.find((event) => event.event.endsWith('instant?type=SMS'));

  const listed = await (await platform.get(STORE, { messageType: ['SMS', 'Pager'], perPage: 10 })).json();
  say('listed', listed);
  const content = await platform.get(instant.body.attachments[0].uri);
  say('content', { type: content.headers.get('content-type'), text: await content.text() });

  const message = await (await platform.put(`${STORE}/${instant.body.id}`, { readStatus: 'Read' })).json();
  say('read', message);
  say('updated', await notifications.next());

  const before = (await platform.auth().data()).access_token;
  await platform.refresh();
  say('refreshed', (await platform.auth().data()).access_token !== before);

  const { id } = registered.subscriptionInfo;
  await registered.revoke();
  const gone = await platform.get(`/restapi/v1.0/subscription/${id}`).catch((error) => error);
  say('revoked', gone.message);
  await platform.delete(`${STORE}/${instant.body.id}`, null);
  await platform.logout();
  say('logout', await platform.loggedIn());
}

main().then(
  () => process.exit(0),
  (error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  },
);
