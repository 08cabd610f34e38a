// CouchDB databases in memory, served by express-pouchdb on the loopback interface: node pouch.js <modules> <port> <log>
const [modules, port, logPath] = process.argv.slice(2);
const load = (name) => require(require.resolve(name, { paths: [modules] }));

const PouchDB = load("pouchdb-core");
for (const plugin of ["pouchdb-adapter-memory", "pouchdb-mapreduce", "pouchdb-replication", "pouchdb-find"]) {
  PouchDB.plugin(load(plugin));
}
const databases = PouchDB.defaults({ adapter: "memory" });
const app = load("express")();
app.use(load("express-pouchdb")(databases, { mode: "fullCouchDB", inMemoryConfig: true, logPath }));
app.listen(Number(port), "127.0.0.1");
