// A certified OpenID Connect provider for the tests, on the port that it is given. It does what the lines on its standard
// input say, `rotate`, `retire`, `close` or `open`, and repeats each when it is done. It ends with whoever started it.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import Provider from 'oidc-provider';

const AUDIENCES = { 'urn:sprocket-factory': 'sprocket-factory', 'urn:other': 'other' };

// What the tokens of a client, or of a person, say beside what every token says.
const CLAIMS = {
  'press-1': { roles: ['press team'], factories: [1] },
  'catalogue': { roles: ['designers'] },
  'gateway': { realm_access: { roles: ['press team'] } },
  'canteen': { roles: ['cooks'] },
  'alice': { roles: ['press team', 'designers'], preferred_username: 'Alice Sheffield' },
};

const REDIRECT_URIS = ['https://board.example/sign-in/callback'];

const KEY_TYPES = [
  ['rsa', { modulusLength: 2048 }],
  ['ec', { namedCurve: 'P-256' }],
  ['ed25519', {}],
];

function newKeys() {
  return KEY_TYPES.map(([type, options]) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
    kid: randomUUID(),
    use: 'sig',
  }));
}

function newProvider(issuer, keys) {
  const machine = (id, more = {}) => ({
    client_id: id,
    client_secret: 'not much of a secret',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    ...more,
  });
  const provider = new Provider(issuer, {
    jwks: { keys },
    cookies: { keys: ['not much of a secret either'] },
    clients: [
      ...Object.keys(CLAIMS).filter((id) => id !== 'alice').map((id) => machine(id)),
      { client_id: 'board', token_endpoint_auth_method: 'none', redirect_uris: REDIRECT_URIS },
      {
        client_id: 'board-on-this-machine', // any port of it (RFC 8252, 7.3)
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['http://127.0.0.1/sign-in/callback'],
      },
      { client_id: 'confidential', client_secret: 'not: much +of a secret%', redirect_uris: REDIRECT_URIS },
    ],
    clientBasedCORS: () => false,
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
    extraTokenClaims: (_, token) => CLAIMS[token.accountId ?? token.clientId],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // The scope of a request says by which algorithm its token is to be signed, so that each can be tried.
        getResourceServerInfo: (context, resource) => ({
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          audience: AUDIENCES[resource],
          jwt: { sign: { alg: context.oidc.params.scope?.match(/\b(RS256|PS256|ES256|EdDSA)\b/)?.[0] ?? 'RS256' } },
          scope: 'RS256 PS256 ES256 EdDSA',
        }),
        useGrantedResource: () => true,
      },
    },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    scopes: ['openid', 'RS256', 'PS256', 'ES256', 'EdDSA'],
    ttl: { AccessToken: 600, AuthorizationCode: 60, ClientCredentials: 600, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  });
  return provider.callback();
}

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
let keys;
let answer;
const server = createServer((request, response) => answer(request, response));

function use(theseKeys) {
  keys = theseKeys;
  answer = newProvider(issuer, keys);
}

const commands = {
  // New keys sign, and the ones before are still published.
  rotate: () => use([...newKeys(), ...keys]),
  // The ones before are withdrawn.
  retire: () => use(keys.slice(0, KEY_TYPES.length)),
  close: () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  }),
  open: () => server.listening || new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  }),
};

use(newKeys());
await commands.open();
console.log('open');
for await (const command of createInterface({ input: process.stdin })) {
  await commands[command]();
  console.log(command);
}
process.exit();
