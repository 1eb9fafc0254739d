using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Audit;
using Kmsd.Keys;

namespace Kmsd.Rpc;

/// <summary>The way that every request of a connection takes to its operation: its user's turn, its cost, and the record of a refusal.</summary>
internal sealed class RequestGuard(Caller caller, CallerShares.Share share, CostLimiter limiter, CatalogueLedger catalogue, RefusalRecorder refusals)
{
    public async Task<T> RunAsync<T>(string method, object request, Func<Task<T>> run)
    {
        await share.EnterAsync();
        try
        {
            if (limiter.IsOn)
            {
                limiter.Take(caller.Primary, Cost.Of(method, request, catalogue.Current));
            }

            return await run();
        }
        catch (KmsException refusal) when (refusal.RetryAfter is null)
        {
            // What the limit refuses isn't recorded: it would cost what the limit saves.
            await refusals.RecordAsync(caller, method, request, RpcMethods.All[method].IsRecorded, refusal);
            throw;
        }
        finally
        {
            share.Leave();
        }
    }

    public Task<T> RunAsync<T>(string method, object request, Func<T> run) => RunAsync(method, request, () => Task.FromResult(run()));
}

/// <summary>What a request costs, in units of work: about what it takes of a processor, in encryptions.</summary>
internal static class Cost
{
    private const int Elliptic = 4;
    private const int RsaPrivate = 40;

    public static long Of(string method, object request, Catalogue catalogue)
    {
        long items = request is IBatchRequest batch ? Math.Max(1, batch.ItemCount) : 1;
        return items * OfOne(method, TypeOf(request, catalogue));
    }

    private static int OfOne(string method, KeyType? type) => (method, type) switch
    {
        ("keys.create" or "keys.rotate", KeyType.Rsa2048) => CostLimiter.MostCost,
        ("keys.create" or "keys.rotate", KeyType.EcdsaP256) => Elliptic,
        ("crypto.sign" or "crypto.verify", KeyType.EcdsaP256) => Elliptic,
        ("crypto.sign" or "crypto.decrypt" or "crypto.decryptBatch" or "crypto.reencrypt" or "crypto.reencryptBatch", KeyType.Rsa2048) => RsaPrivate,
        _ => 1,
    };

    private static KeyType? TypeOf(object request, Catalogue catalogue) => request switch
    {
        CreateKeyRequest creation => creation.Type,
        IKeyRequest { Key: string name } when KeyReference.TryParse(name, out KeyReference reference) => catalogue.Find(reference)?.Type,
        _ => null,
    };
}
