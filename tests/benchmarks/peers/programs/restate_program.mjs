// The work on Restate's TypeScript SDK, served as its documentation says.
import * as restate from "@restatedev/restate-sdk";

const step = (n) => async () => ({ n });
const undo = (n) => async () => ({ undone: n });

const steps = restate.workflow({
  name: "Steps",
  handlers: {
    run: async (ctx, n) => {
      const first = await ctx.run("first", step(n));
      const second = await ctx.run("second", step(first.n));
      return await ctx.run("third", step(second.n));
    },
  },
});

const undone = restate.workflow({
  name: "Undone",
  handlers: {
    run: async (ctx, n) => {
      const done = [];
      try {
        for (const name of ["first", "second"]) done.push((await ctx.run(name, step(n))).n);
        await ctx.run("third", async () => {
          throw new restate.TerminalError(`there is no ${n}`);
        });
      } catch (refusal) {
        if (!(refusal instanceof restate.TerminalError)) throw refusal;
        for (const each of done.reverse()) await ctx.run("undo", undo(each));
        return { compensated: refusal.message };
      }
      return {};
    },
  },
});

const parked = restate.workflow({
  name: "Parked",
  handlers: {
    run: async (ctx, n) => {
      await ctx.promise("go");
      return await ctx.run("first", step(n));
    },
    go: async (ctx, what) => {
      await ctx.promise("go").resolve(what);
    },
  },
});

restate.serve({ services: [steps, undone, parked], port: Number(process.env.PORT) });
