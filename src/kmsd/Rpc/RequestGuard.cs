using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Audit;
using Kmsd.Keys;
using Kmsd.Storage;

namespace Kmsd.Rpc;

/// <summary>The way that every request of a connection takes to its operation: its user's turn, its cost, and the record of a refusal; and its count.</summary>
internal sealed class RequestGuard(
    Caller caller, CallerShares.Share share, CostLimiter limiter, CatalogueLedger catalogue, RefusalRecorder refusals, RpcMeter meter)
{
    public async Task<T> RunAsync<T>(string method, object request, Func<Task<T>> run)
    {
        long began = meter.Now();
        await share.EnterAsync();
        try
        {
            if (limiter.IsOn)
            {
                limiter.Take(caller.Primary, Cost.Of(method, request, catalogue.Current));
            }

            if (Burst.Current is Burst burst && Cost.Of(method, request, catalogue.Current) >= Cost.Long)
            {
                burst.Close(); // What came before it needn't wait until it is done.
            }

            T result = await run();
            meter.Answered(method, began);
            return result;
        }
        catch (Exception exception)
        {
            await RefuseAsync(method, request, exception, began);
            throw;
        }
        finally
        {
            share.Leave();
        }
    }

    public Task<T> RunAsync<T>(string method, object request, Func<T> run) => RunAsync(method, request, () => Task.FromResult(run()));

    /// <summary>Records a refusal, if that is called for, and counts what is answered: of what can't be recorded, that.</summary>
    private async Task RefuseAsync(string method, object request, Exception exception, long began)
    {
        KmsErrorCode answered = CodeOf(exception);
        try
        {
            // What the limit refuses isn't recorded: it would cost what the limit saves.
            if (exception is KmsException { RetryAfter: null } refusal)
            {
                await refusals.RecordAsync(caller, method, request, RpcMethods.All[method].IsRecorded, refusal);
            }
        }
        catch (Exception instead)
        {
            answered = CodeOf(instead);
            throw;
        }
        finally
        {
            meter.Refused(method, answered, began);
        }
    }

    private static KmsErrorCode CodeOf(Exception exception) => exception switch
    {
        KmsException refusal => refusal.Code,
        OperationCanceledException => KmsErrorCode.Cancelled,
        _ => KmsErrorCode.Internal,
    };
}

/// <summary>What a request costs, in units of work: about what it takes of a processor, in encryptions.</summary>
internal static class Cost
{
    /// <summary>From here on it takes a processor about as long as a whole burst of uses does.</summary>
    public const int Long = RsaPrivate;

    private const int Elliptic = 4;
    private const int RsaPrivate = 40;

    public static long Of(string method, object request, Catalogue catalogue)
    {
        long items = request is IBatchRequest batch ? Math.Max(1, batch.ItemCount) : 1;
        return items * OfOne(method, DependsOnType(method) ? TypeOf(request, catalogue) : null);
    }

    private static bool DependsOnType(string method) => method is "keys.create" or "keys.rotate"
        or "crypto.sign" or "crypto.verify" or "crypto.decrypt" or "crypto.decryptBatch" or "crypto.reencrypt" or "crypto.reencryptBatch";

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
